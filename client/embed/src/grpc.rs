// SPDX-License-Identifier: Apache-2.0
//! Hosts at addresses: what the feature `grpc` adds.
//!
//! ```no_run
//! use code_mode_embed::grpc::Host;
//! use code_mode_embed::{Session, ToolSet};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let host = Host::at("https://host.example:7000")?.token_file("/run/secrets/code_mode_token");
//! let session = Session::open(host.provider(), ToolSet::new()).await?;
//! println!("{}", session.exec("text(1 + 1)").await?.text());
//! # Ok(())
//! # }
//! ```

use std::path::PathBuf;
use std::sync::Arc;

#[doc(no_inline)]
pub use code_mode_client_grpc::{Address, AddressConfig, AddressError, AddressSessionProvider};

/// A host that somebody else runs, and how it is reached.
#[derive(Debug, Clone)]
pub struct Host {
    config: AddressConfig,
}

impl Host {
    /// The host at `https://HOST:PORT`, at `http://HOST:PORT` (also `grpc://`), or at `unix:PATH` (also
    /// `grpc+unix://PATH`), without a token, for whom the machine's certificates vouch.
    ///
    /// # Errors
    /// When this is no such address.
    pub fn at(address: &str) -> Result<Self, AddressError> {
        Ok(AddressConfig::new(address.parse()?).into())
    }

    /// A file with the bearer token that the host asks for, on one line; read anew for each connection.
    #[must_use]
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.token_file = Some(path.into());
        self
    }

    /// A file with the certificates, in PEM, that may vouch for an `https` host in the place of those that
    /// the machine trusts.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.ca_file = Some(path.into());
        self
    }

    /// A provider of sessions there, for [`Session::open`](crate::Session::open) and
    /// [`Session::builder`](crate::Session::builder). It connects on first use; sessions of one provider
    /// share connections.
    pub fn provider(&self) -> Arc<AddressSessionProvider> {
        Arc::new(AddressSessionProvider::new(self.config.clone()))
    }
}

/// With deadlines and bounds of one's own.
impl From<AddressConfig> for Host {
    fn from(config: AddressConfig) -> Self {
        Self { config }
    }
}
