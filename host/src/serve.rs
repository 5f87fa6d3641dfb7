// SPDX-License-Identifier: Apache-2.0
//! A connection of V1 over a runtime.

use std::sync::Arc;

use code_mode_api::waist::Sessions;
use code_mode_frames::{Alarm, DirectOutput, ServeError};
use code_mode_runtime::{Runtime, RuntimeConfig, RuntimeFailure, Supervisor};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::HostConfig;

/// Serves one connection over a runtime of its own, until the client closes it or it fails.
///
/// Must be called within a Tokio runtime. At the end no cell of the connection runs any more, or
/// [`ServeError::CellsRunOn`] says so.
///
/// # Errors
/// Whatever ended the connection, except a clean end of input and a rejected hello.
pub async fn serve<R, W>(reader: R, writer: W, config: HostConfig) -> Result<(), ServeError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    serve_directly(reader, writer, None, config).await
}

/// As [`serve`]; with `direct`, a second descriptor of `writer`, frames are written by whoever has them.
pub(crate) async fn serve_directly<R, W>(
    reader: R,
    writer: W,
    direct: Option<DirectOutput>,
    config: HostConfig,
) -> Result<(), ServeError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let connection = config.of_connection();
    let start = move |alarm| start(config.runtime, alarm);
    code_mode_frames::serve(reader, writer, direct, connection, start).await
}

/// Starts a runtime whose failures fail the connection. V8 is set up in the background.
fn start(config: RuntimeConfig, alarm: Alarm) -> Result<Arc<dyn Sessions>, ServeError> {
    let handle = tokio::runtime::Handle::current();
    let supervisor = Arc::new(Alarmed(alarm));
    match Runtime::new(config, handle, Some(supervisor)) {
        Ok(runtime) => Ok(Arc::new(runtime)),
        Err(error) => Err(ServeError::RuntimeStart(error.into())),
    }
}

/// Fails a connection when the runtime has failed.
struct Alarmed(Alarm);

impl Supervisor for Alarmed {
    fn failed(&self, failure: RuntimeFailure) {
        self.0.raise(ServeError::Runtime(failure.into()));
    }
}
