// SPDX-License-Identifier: Apache-2.0
//! Whom an `https` host may be vouched for by.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, version};

/// Why there is no encrypted connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("the certificates of {} cannot be read: {source}", .path.display())]
    Read { path: PathBuf, source: pem::Error },
    #[error("there is no certificate in {}", .0.display())]
    Empty(PathBuf),
    #[error("this machine has no certificates that it trusts; name a file of your own")]
    NoRoots,
    #[error("{0:?} is neither a host's name nor an IP address")]
    Name(String),
    #[error("the certificates cannot be used: {0}")]
    Use(rustls::Error),
    #[error("the host's certificate or its TLS is not accepted: {0}")]
    Handshake(std::io::Error),
}

/// Speaks TLS over `stream` with the host `name`, whom the certificates of `ca_file`, or else those of the
/// machine, must vouch for.
pub(crate) async fn shake_hands(
    stream: TcpStream,
    name: &str,
    ca_file: Option<&PathBuf>,
) -> Result<TlsStream<TcpStream>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .map_err(TlsError::Use)?
        .with_root_certificates(roots(ca_file)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let plain = name.trim_start_matches('[').trim_end_matches(']');
    let server = ServerName::try_from(plain.to_owned());
    let server = server.map_err(|_| TlsError::Name(name.to_owned()))?;
    TlsConnector::from(Arc::new(config))
        .connect(server, stream)
        .await
        .map_err(TlsError::Handshake)
}

/// Read anew for each connection, so that a certificate that has been renewed is taken.
fn roots(ca_file: Option<&PathBuf>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let unreadable = |source| TlsError::Read {
                path: path.clone(),
                source,
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                roots
                    .add(certificate.map_err(unreadable)?)
                    .map_err(TlsError::Use)?;
            }
            if roots.is_empty() {
                return Err(TlsError::Empty(path.clone()));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::debug!(%error, "certificates that the machine trusts cannot be read");
            }
            // Some machines list certificates that no library takes; the others count.
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(TlsError::NoRoots);
            }
        }
    }
    Ok(roots)
}
