// SPDX-License-Identifier: Apache-2.0
//! The host's certificate and key, from files that may change.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig, version};

use crate::tokens::{Stamp, stamp};

/// Why a certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("Failed to read {what} from {}: {source}", .path.display())]
    Read {
        /// Whether it is the certificate or the key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// They are not what TLS can use, or do not belong together.
    #[error("Failed to use the certificate of {} with its key: {source}", .path.display())]
    Use {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong with them.
        source: rustls::Error,
    },
}

/// A certificate chain and its key. They are read again when one of the files has changed; what cannot
/// be used then leaves them as they are.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    state: Mutex<LoadedConfig>,
}

struct LoadedConfig {
    stamps: (Stamp, Stamp),
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Reads both files, in PEM.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn read(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let (certificate, key) = (certificate.into(), key.into());
        let stamps = (stamp(&certificate), stamp(&key));
        let config = read(&certificate, &key)?;
        Ok(Self {
            certificate,
            key,
            state: Mutex::new(LoadedConfig { stamps, config }),
        })
    }

    /// What the next connection is to use.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (stamp(&self.certificate), stamp(&self.key));
        if now != state.stamps {
            match read(&self.certificate, &self.key) {
                Ok(config) => {
                    state.config = config;
                    tracing::info!("the certificate was read again");
                }
                Err(error) => tracing::warn!(%error, "the certificate stays as it was"),
            }
            state.stamps = now;
        }
        Arc::clone(&state.config)
    }
}

fn read(certificate: &PathBuf, key: &PathBuf) -> Result<Arc<ServerConfig>, TlsError> {
    let unreadable = |what, path: &PathBuf| {
        let path = path.clone();
        move |source| TlsError::Read { what, path, source }
    };
    let unusable = |source| TlsError::Use {
        path: certificate.clone(),
        source,
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable("the certificate", certificate))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable("the key", key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
