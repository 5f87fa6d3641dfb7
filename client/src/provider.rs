// SPDX-License-Identifier: Apache-2.0
//! The provider of sessions that run in host processes.

use std::sync::Arc;

use code_mode_api::{
    BoxFuture, CodeModeSession, SessionDelegate, SessionError, SessionOptions, SessionProvider,
};

use crate::config::ProviderConfig;
use crate::connection::HostInfo;
use crate::connector::Connector;
use crate::delegate::Delegate;
use crate::hosts::{ConnectorLauncher, Hosts, Launcher, ProcessLauncher};
use crate::place::Registry;
use crate::session::ProcessSession;

/// Opens sessions that run in supervised host processes.
///
/// Making one starts nothing: the first use of a session starts a host. Dropping it ends every host
/// and thereby every cell, without waiting; [`shutdown`](Self::shutdown) waits.
pub struct ProcessSessionProvider {
    hosts: Arc<Hosts>,
    registry: Arc<Registry>,
}

impl ProcessSessionProvider {
    /// A provider whose hosts run as `config` says.
    pub fn new(config: ProviderConfig) -> Self {
        let config = Arc::new(config);
        let launcher = Box::new(ProcessLauncher(Arc::clone(&config)));
        Self::with_launcher(config, launcher)
    }

    /// A provider whose hosts are reached by what `connector` makes. Of `config` everything holds but
    /// what is about a process: program, arguments, environment, working folder, resource limits.
    pub fn with_connector(config: ProviderConfig, connector: Arc<dyn Connector>) -> Self {
        Self::with_launcher(Arc::new(config), Box::new(ConnectorLauncher(connector)))
    }

    pub(crate) fn with_launcher(config: Arc<ProviderConfig>, launcher: Box<dyn Launcher>) -> Self {
        let registry = Registry::new(config.max_sessions);
        Self {
            hosts: Hosts::new(config, launcher),
            registry,
        }
    }

    /// Starts a host if none runs that the next session would use, and says what it is.
    ///
    /// With [`Isolation::PerSession`](crate::Isolation::PerSession) the host is started for this
    /// question alone.
    ///
    /// # Errors
    /// [`SessionError::StartFailed`] when no host can be started.
    pub async fn probe(&self) -> Result<HostInfo, SessionError> {
        match self.hosts.acquire().await {
            Ok(connection) => Ok(connection.info().clone()),
            Err(cause) => Err(SessionError::StartFailed {
                cause: cause.to_string(),
            }),
        }
    }

    /// Ends every host and waits until each has ended and was reaped.
    ///
    /// A host that does not end by itself within
    /// [`Deadlines::shutdown`](crate::Deadlines::shutdown) is killed.
    pub async fn shutdown(&self) {
        self.hosts.shutdown().await;
    }
}

impl Drop for ProcessSessionProvider {
    fn drop(&mut self) {
        self.hosts.close();
    }
}

impl SessionProvider for ProcessSessionProvider {
    fn open_session(
        &self,
        options: SessionOptions,
        delegate: Arc<dyn SessionDelegate>,
    ) -> BoxFuture<'_, Result<Arc<dyn CodeModeSession>, SessionError>> {
        Box::pin(async move {
            let place = Registry::enter(&self.registry, options.session_id)?;
            let delegate = Delegate::new(delegate);
            let hosts = Arc::clone(&self.hosts);
            let session =
                ProcessSession::new(Arc::new(place), hosts, delegate, options.cuts_output);
            Ok(Arc::new(session) as Arc<dyn CodeModeSession>)
        })
    }
}
