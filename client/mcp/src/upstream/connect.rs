// SPDX-License-Identifier: Apache-2.0
//! Makes a connection to a server: starts its process or finds its address, and greets it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use rmcp::model::{
    ClientCapabilities, ClientConfig, Implementation, ProgressNotificationParam, ProgressToken,
    ProtocolVersion, SubscriptionFilter,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, ClientServiceExt, NotificationContext, Peer,
    RunningService,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, RoleClient};
use tokio::process::Child;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::lines::{Ending, LineTransport, MAX_MESSAGE_BYTES};
use super::process::{self, LastWords};
use crate::config::TransportSpec;

/// How long an HTTP server may take to accept a connection (10 s).
const HTTP_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls that one HTTP server has under way at one time; further ones wait.
const MAX_HTTP_REQUESTS: usize = 32;

/// The pause before a server whose subscription has ended is asked for another (1 s), doubled each time up to
/// [`MAX_FOLLOW_PAUSE`].
const FIRST_FOLLOW_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause (60 s); a subscription that lasted as long makes the pauses start anew.
const MAX_FOLLOW_PAUSE: Duration = Duration::from_secs(60);

/// A text about the progress of a call, for whoever waits for it.
pub type ProgressSink = Arc<dyn Fn(String) + Send + Sync>;

/// Who hears about the progress of which call.
#[derive(Clone, Default)]
pub struct ProgressRoutes(Arc<Mutex<HashMap<ProgressToken, ProgressSink>>>);

impl ProgressRoutes {
    /// Sends progress under `token` to `sink` until what this gives is dropped.
    pub fn route(&self, token: ProgressToken, sink: ProgressSink) -> Route {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        routes.insert(token.clone(), sink);
        Route {
            routes: self.clone(),
            token,
        }
    }

    fn sink(&self, token: &ProgressToken) -> Option<ProgressSink> {
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        routes.get(token).cloned()
    }
}

/// A call whose progress somebody hears about.
pub struct Route {
    routes: ProgressRoutes,
    token: ProgressToken,
}

impl Drop for Route {
    fn drop(&mut self) {
        let mut routes = self.routes.0.lock().unwrap_or_else(PoisonError::into_inner);
        routes.remove(&self.token);
    }
}

/// What a server may tell us without being asked.
#[derive(Clone, Default)]
pub struct Ears {
    /// Rung when its list of tools has changed.
    pub tools_changed: Arc<Notify>,
    /// Who hears about progress.
    pub progress: ProgressRoutes,
}

impl ClientHandler for Ears {
    fn get_info(&self) -> ClientConfig {
        let us = Implementation::new("code_mode", env!("CARGO_PKG_VERSION"));
        // No sampling, no roots, no elicitation: a server can ask nothing of the model or the user.
        ClientConfig::new(ClientCapabilities::default(), us)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.tools_changed.notify_one();
    }

    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        if let Some(sink) = self.progress.sink(&progress.progress_token) {
            sink(progress_text(&progress));
        }
    }
}

/// Follows the tools of a server that tells of changes only to those who have subscribed, as servers of the
/// revision 2026-07-28 do. It never ends: a server that takes no subscription is not asked again.
pub async fn follow_tools(peer: &Peer<RoleClient>, ears: &Ears) {
    let tells = peer.peer_info().is_some_and(|info| {
        let tools = info.capabilities.tools.as_ref();
        tools.is_some_and(|tools| tools.list_changed == Some(true))
    });
    if !tells {
        return std::future::pending().await;
    }
    let mut pause = FIRST_FOLLOW_PAUSE;
    loop {
        let filter = SubscriptionFilter::builder().tools_list_changed().build();
        let Ok(mut subscription) = peer.listen(filter).await else {
            return std::future::pending().await;
        };
        let begun = Instant::now();
        // What has changed before the server listened was told to nobody.
        ears.tools_changed.notify_one();
        while let Ok(Some(_)) = subscription.next().await {
            ears.tools_changed.notify_one();
        }
        if begun.elapsed() >= MAX_FOLLOW_PAUSE {
            pause = FIRST_FOLLOW_PAUSE;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_FOLLOW_PAUSE);
    }
}

fn progress_text(progress: &ProgressNotificationParam) -> String {
    let share = match progress.total {
        Some(total) => format!("{} of {total}", progress.progress),
        None => progress.progress.to_string(),
    };
    match &progress.message {
        Some(message) => format!("{message} ({share})"),
        None => share,
    }
}

/// A server that has greeted.
pub struct Connection {
    /// Ends with the connection.
    pub running: RunningService<RoleClient, Ears>,
    /// Asks the server.
    pub peer: Peer<RoleClient>,
    /// What it tells us.
    pub ears: Ears,
    /// Its process, if it is one of ours.
    pub child: Option<Child>,
    /// What its process has said on standard error.
    pub words: LastWords,
    /// Why its streams ended.
    pub ending: Ending,
}

/// Why a connection could not be made.
pub struct ConnectError {
    /// What failed, for people, without its last words.
    pub cause: String,
    /// What its process has said.
    pub words: LastWords,
    /// The server answered, but not to this way of greeting.
    pub other_greeting: bool,
}

impl ConnectError {
    fn new(cause: String) -> Self {
        Self {
            cause,
            words: LastWords::default(),
            other_greeting: false,
        }
    }
}

/// How a server is greeted: by `initialize`, as all revisions before 2026-07-28 have it, or by
/// `server/discover`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// `initialize`.
    Initialize,
    /// `server/discover`.
    Discover,
}

impl Greeting {
    fn lifecycle(self) -> ClientLifecycleMode {
        match self {
            Self::Initialize => ClientLifecycleMode::Initialize,
            Self::Discover => ClientLifecycleMode::Discover {
                preferred_versions: vec![ProtocolVersion::LATEST],
            },
        }
    }
}

/// Starts or reaches the server and greets it. Whoever drops the future kills what was started.
///
/// # Errors
/// With what failed.
pub async fn connect(spec: &TransportSpec, greeting: Greeting) -> Result<Connection, ConnectError> {
    let ears = Ears::default();
    match spec {
        TransportSpec::Command {
            program,
            arguments,
            environment,
            folder,
        } => {
            let started = process::start(program, arguments, environment, folder.as_deref());
            let mut process = started.map_err(|error| {
                ConnectError::new(format!(
                    "its program {} cannot be started: {error}",
                    process::shown(spec)
                ))
            })?;
            let ending = Ending::default();
            let transport = LineTransport::new(process.output, process.input, ending.clone());
            let greeted = ears
                .clone()
                .serve_with_lifecycle(transport, greeting.lifecycle())
                .await;
            match greeted {
                Ok(running) => Ok(Connection {
                    peer: running.peer().clone(),
                    running,
                    ears,
                    child: Some(process.child),
                    words: process.words,
                    ending,
                }),
                Err(error) => {
                    let status = process::end(&mut process.child).await;
                    let why = ending
                        .get()
                        .map(|why| format!(" ({why})"))
                        .unwrap_or_default();
                    Err(ConnectError {
                        cause: format!("{}{why}; its process ended with {status}", told(&error)),
                        words: process.words,
                        other_greeting: is_answer(&error),
                    })
                }
            }
        }
        TransportSpec::Http { url, headers } => {
            let transport = http(url, headers).map_err(ConnectError::new)?;
            let greeted = ears
                .clone()
                .serve_with_lifecycle(transport, greeting.lifecycle())
                .await;
            let running = greeted.map_err(|error| ConnectError {
                other_greeting: is_answer(&error),
                ..ConnectError::new(told(&error))
            })?;
            Ok(Connection {
                peer: running.peer().clone(),
                running,
                ears,
                child: None,
                words: LastWords::default(),
                ending: Ending::default(),
            })
        }
    }
}

fn is_answer(error: &ClientInitializeError) -> bool {
    matches!(error, ClientInitializeError::JsonRpcError(_))
}

/// The error in plain words, with what caused it.
fn told(error: &ClientInitializeError) -> String {
    match error {
        ClientInitializeError::JsonRpcError(error) => {
            format!("it refused the greeting: {}", error.message)
        }
        ClientInitializeError::ConnectionClosed(_) => {
            "it closed the connection before it had greeted".to_owned()
        }
        ClientInitializeError::TransportError { error, .. } => {
            let mut text = error.error.to_string();
            let mut source = error.error.source();
            while let Some(cause) = source {
                let cause_text = cause.to_string();
                if !text.contains(&cause_text) {
                    text.push_str(": ");
                    text.push_str(&cause_text);
                }
                source = cause.source();
            }
            text
        }
        other => other.to_string(),
    }
}

fn http(
    url: &str,
    headers: &std::collections::BTreeMap<String, String>,
) -> Result<StreamableHttpClientTransport<reqwest::Client>, String> {
    static PROVIDER: Once = Once::new();
    // Somebody else in this process may have chosen one before; theirs does as well.
    PROVIDER.call_once(|| {
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    });
    let mut given = HashMap::new();
    for (name, value) in headers {
        let problem = || format!("its header {name} cannot be sent");
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| problem())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| problem())?;
        value.set_sensitive(true);
        given.insert(header, value);
    }
    let builder = match url.starts_with("https:") {
        true => reqwest::Client::builder(),
        // A machine without certificates can reach servers that need none.
        false => reqwest::Client::builder().tls_certs_only([]),
    };
    let client = builder
        .connect_timeout(HTTP_CONNECT_TIMEOUT)
        // A server that sends its clients elsewhere must not get their credentials sent along.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| format!("no HTTP client can be made: {error}"))?;
    let config = StreamableHttpClientTransportConfig::with_uri(url)
        .custom_headers(given)
        .max_concurrent_requests(MAX_HTTP_REQUESTS)
        .max_sse_event_size(MAX_MESSAGE_BYTES);
    Ok(StreamableHttpClientTransport::with_client(client, config))
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
