// SPDX-License-Identifier: Apache-2.0
//! The provider of sessions on a host at an address.

use std::sync::Arc;

use code_mode_api::{
    BoxFuture, CodeModeSession, SessionDelegate, SessionError, SessionOptions, SessionProvider,
};
use code_mode_client::{Connector, HostInfo, ProcessSessionProvider, Streams};

use crate::config::AddressConfig;
use crate::wire::Wire;
use crate::{bridge, convert, streams};

/// Bytes that are under way between the client's driver and the bridge, in each direction, before the
/// one that speaks has to wait (256 KiB).
const STREAM_BYTES: usize = 256 << 10;

/// Opens sessions on a host that somebody else runs.
///
/// Making one connects to nothing: the first use of a session does. Dropping it closes every connection
/// and thereby ends every cell, without waiting; [`shutdown`](Self::shutdown) waits.
pub struct AddressSessionProvider(ProcessSessionProvider);

impl AddressSessionProvider {
    /// A provider that reaches its host as `config` says.
    pub fn new(config: AddressConfig) -> Self {
        let provider = config.provider();
        let dialer = Arc::new(Dialer(config));
        Self(ProcessSessionProvider::with_connector(provider, dialer))
    }

    /// Makes a connection if there is none that the next session would use, and says what is known of the
    /// host behind it.
    ///
    /// # Errors
    /// [`SessionError::StartFailed`] when there is no connection to be had.
    pub async fn probe(&self) -> Result<HostInfo, SessionError> {
        self.0.probe().await
    }

    /// Closes every connection and waits until each is closed.
    pub async fn shutdown(&self) {
        self.0.shutdown().await;
    }
}

impl SessionProvider for AddressSessionProvider {
    fn open_session(
        &self,
        options: SessionOptions,
        delegate: Arc<dyn SessionDelegate>,
    ) -> BoxFuture<'_, Result<Arc<dyn CodeModeSession>, SessionError>> {
        self.0.open_session(options, delegate)
    }
}

/// Makes connections to one address.
struct Dialer(AddressConfig);

impl Connector for Dialer {
    fn connect(&self) -> BoxFuture<'_, Result<Streams, String>> {
        Box::pin(async {
            let address = &self.0.address;
            let failed = |cause| format!("Failed to connect to {address}: {cause}");
            let connected = async {
                let mut wire = Wire::connect(&self.0).await.map_err(|e| e.to_string())?;
                let named = wire.describe().await?;
                Ok((wire, convert::offer(&named)))
            };
            let (wire, offer) = tokio::time::timeout(self.0.connect_deadline, connected)
                .await
                .map_err(|_| {
                    let ms = self.0.connect_deadline.as_millis();
                    failed(format!("it has taken more than {ms} ms"))
                })?
                .map_err(failed)?;
            let (input, heard) = tokio::io::duplex(STREAM_BYTES);
            let (said, output) = tokio::io::duplex(STREAM_BYTES);
            let ending = streams::Ending::default();
            let output = streams::Output::new(output, ending.clone());
            let name = address.to_string();
            let sent = wire.sent.clone();
            Ok(Streams {
                input: Box::new(streams::Input::new(input, ending.clone())),
                output: Box::new(output),
                work: Box::pin(bridge::run(wire, offer, heard, said, ending, name)),
                sent: Some(sent),
            })
        })
    }
}
