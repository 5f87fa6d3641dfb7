// SPDX-License-Identifier: Apache-2.0
//! One server: it is started when somebody needs it, kept, and started again when it is lost.
//!
//! A task of its own keeps each server (the keeper). Everybody else sees its state through a watch
//! channel, and so waits for events only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use code_mode_api::{RawJson, ToolError};
use rmcp::RoleClient;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotificationParam, ClientRequest, JsonObject,
    RequestId, ServerResult,
};
use rmcp::service::{Peer, PeerRequestOptions, ServiceError};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connect::{self, Connection, Greeting, ProgressRoutes, ProgressSink};
use super::list::{self, ServerTool};
use super::process;
use crate::config::{MAX_CALL_TIME, ServerSpec};
use crate::result;

/// The pause before a server is started again (0.5 s), doubled each time up to [`MAX_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause before a server is started again (60 s).
pub const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How long a server must have answered for the pauses to start anew (60 s).
pub const STABLE_AFTER: Duration = Duration::from_secs(60);

/// A call waits for a server that is to start within this time (1 s); otherwise it fails at once.
pub const MAX_WAITED_PAUSE: Duration = Duration::from_secs(1);

/// Calls that one server works on at one time; further ones wait for a place.
pub const MAX_CALLS: usize = 64;

/// How long a server's list of tools may go on changing before it is asked for again (100 ms), so that a
/// server that tells of every single change is not asked for every single one.
const SETTLE: Duration = Duration::from_millis(100);

/// Mistakes in the list of one server that are told; the others are not.
const MAX_WARNINGS: usize = 16;

/// Bytes of an error of a server that a script and the model get to see.
const MAX_ERROR_BYTES: usize = 4 * 1024;

/// Where a server stands.
#[derive(Clone)]
pub enum Status {
    /// Nobody has needed it yet.
    Idle,
    /// It is being started.
    Starting,
    /// It answers.
    Ready(Ready),
    /// It could not be started or was lost, and is tried again.
    Pausing {
        /// What happened.
        cause: Arc<str>,
        /// When it is tried again.
        until: Instant,
    },
    /// It is configured in a way that cannot work, or was shut down.
    Unusable(Arc<str>),
}

/// How a server that answers is asked.
#[derive(Clone)]
pub struct Ready {
    peer: Peer<RoleClient>,
    progress: ProgressRoutes,
}

/// A server as others see it at one time.
#[derive(Clone)]
pub struct Snapshot {
    /// Where it stands.
    pub status: Status,
    /// Its tools; those it had last while it is down.
    pub tools: Arc<[ServerTool]>,
    /// What was wrong with its list.
    pub warnings: Arc<[String]>,
    /// Raised with each new list of tools.
    pub generation: u64,
}

impl Snapshot {
    /// Why the server cannot be asked now, for people; nothing if it can or will soon.
    pub fn problem(&self) -> Option<String> {
        match &self.status {
            Status::Idle | Status::Ready(_) | Status::Starting => None,
            Status::Unusable(cause) => Some(cause.to_string()),
            Status::Pausing { cause, until } => {
                let left = until.saturating_duration_since(Instant::now());
                let seconds = left.as_secs_f64().ceil();
                Some(format!("{cause} (tried again in {seconds} s)"))
            }
        }
    }

    /// Whether what the server offers may be had by waiting a little.
    pub fn is_pending(&self) -> bool {
        matches!(self.status, Status::Idle | Status::Starting)
    }
}

/// One configured server.
pub struct Server {
    spec: ServerSpec,
    state: watch::Sender<Snapshot>,
    changed: watch::Sender<u64>,
    places: Semaphore,
    begun: AtomicBool,
    shutdown: CancellationToken,
}

impl Server {
    /// A server that nobody has needed yet. `changed` is raised with each change of what it offers.
    pub fn new(
        spec: ServerSpec,
        changed: watch::Sender<u64>,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        let status = match &spec.transport {
            Ok(_) => Status::Idle,
            Err(problem) => Status::Unusable(problem.as_str().into()),
        };
        let snapshot = Snapshot {
            status,
            tools: Arc::from([]),
            warnings: Arc::from([]),
            generation: 0,
        };
        Arc::new(Self {
            spec,
            state: watch::Sender::new(snapshot),
            changed,
            places: Semaphore::new(MAX_CALLS),
            begun: AtomicBool::new(false),
            shutdown,
        })
    }

    /// How it is configured.
    pub fn spec(&self) -> &ServerSpec {
        &self.spec
    }

    /// Where it stands now.
    pub fn snapshot(&self) -> Snapshot {
        self.state.borrow().clone()
    }

    /// Starts it if nobody has yet.
    pub fn begin(self: &Arc<Self>) {
        if self.spec.transport.is_ok() && !self.begun.swap(true, Ordering::Relaxed) {
            self.set(Status::Starting);
            tokio::spawn(Arc::clone(self).keep());
        }
    }

    /// Waits until it is known whether it can be had: it answers, or it has failed.
    pub async fn settled(self: &Arc<Self>) {
        self.begin();
        let mut state = self.state.subscribe();
        // The sender lives as long as `self`.
        let _ = state.wait_for(|snapshot| !snapshot.is_pending()).await;
    }

    /// Waits until its process has ended, after all were told to shut down.
    pub async fn ended(&self) {
        if self.begun.load(Ordering::Relaxed) {
            let mut state = self.state.subscribe();
            let _ = state
                .wait_for(|snapshot| matches!(snapshot.status, Status::Unusable(_)))
                .await;
        }
    }

    /// Starts it if need be and waits until it answers.
    ///
    /// # Errors
    /// When it cannot be had now, in words for scripts.
    pub async fn ready(self: &Arc<Self>) -> Result<Ready, ToolError> {
        self.begin();
        let mut state = self.state.subscribe();
        loop {
            let snapshot = state.borrow_and_update().clone();
            match &snapshot.status {
                Status::Ready(ready) => return Ok(ready.clone()),
                Status::Idle | Status::Starting => {}
                Status::Pausing { until, .. }
                    if until.saturating_duration_since(Instant::now()) <= MAX_WAITED_PAUSE => {}
                Status::Pausing { .. } | Status::Unusable(_) => {
                    let problem = snapshot.problem().unwrap_or_default();
                    return Err(self.unavailable(&problem));
                }
            }
            if state.changed().await.is_err() {
                return Err(self.unavailable("it was shut down"));
            }
        }
    }

    fn unavailable(&self, problem: &str) -> ToolError {
        ToolError::new(format!(
            "the MCP server {} is not available: {problem}",
            self.spec.name
        ))
    }

    /// Calls a tool. Dropping the future cancels the call at the server.
    ///
    /// # Errors
    /// When the server cannot be had, does not answer in time, or answers with an error; in words for
    /// scripts, without credentials.
    pub async fn call(
        self: &Arc<Self>,
        tool: &str,
        input: &RawJson,
        progress: ProgressSink,
    ) -> Result<RawJson, ToolError> {
        let arguments: Option<JsonObject> = serde_json::from_str(input.get()).map_err(|_| {
            ToolError::new(format!(
                "{tool} takes one object with named arguments, such as {{ name: value }}"
            ))
        })?;
        let mut params = CallToolRequestParams::new(tool.to_owned());
        params.arguments = arguments;
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let answer = self.ask(request, Some(progress)).await?;
        result::of_answer(answer).map_err(|message| self.told(&message))
    }

    /// Asks the server anything, within its time for calls.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn ask(
        self: &Arc<Self>,
        request: ClientRequest,
        progress: Option<ProgressSink>,
    ) -> Result<ServerResult, ToolError> {
        let _place = self
            .places
            .acquire()
            .await
            .map_err(|_| self.unavailable("it was shut down"))?;
        let ready = self.ready().await?;
        let sent = ready
            .peer
            .send_cancellable_request(request, times(self.spec.call_timeout))
            .await;
        let handle = sent.map_err(|error| self.failed(&error))?;
        let _route = progress.map(|sink| ready.progress.route(handle.progress_token.clone(), sink));
        let mut cancel = CancelOnDrop {
            peer: ready.peer.clone(),
            request: Some(handle.id.clone()),
        };
        let answer = handle.await_response().await;
        cancel.request = None;
        // The SDK hands progress to tasks of their own; those that came before the answer run first.
        tokio::task::yield_now().await;
        answer.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &ServiceError) -> ToolError {
        match error {
            ServiceError::McpError(error) => self.told(&error.message),
            ServiceError::Timeout { timeout } => ToolError::new(format!(
                "the MCP server {} has not answered within {} s",
                self.spec.name,
                timeout.as_secs_f64()
            )),
            ServiceError::TransportClosed | ServiceError::TransportSend(_) => {
                ToolError::new(format!(
                    "the MCP server {} was lost during the call; the call may have taken effect",
                    self.spec.name
                ))
            }
            other => self.told(&other.to_string()),
        }
    }

    /// An error text of the server, without credentials and not too long.
    fn told(&self, message: &str) -> ToolError {
        let mut message = self.spec.secrets.redact(message);
        if message.len() > MAX_ERROR_BYTES {
            let mut end = MAX_ERROR_BYTES;
            while !message.is_char_boundary(end) {
                end -= 1;
            }
            message.truncate(end);
            message.push('…');
        }
        if message.trim().is_empty() {
            message = "the tool failed and said nothing".to_owned();
        }
        ToolError::new(message)
    }

    fn set(&self, status: Status) {
        self.state.send_modify(|snapshot| snapshot.status = status);
        self.changed.send_modify(|version| *version += 1);
    }

    fn set_tools(&self, list: list::ToolList) {
        let (tools, mut warnings) = (list.tools, list.warnings);
        let offered: Vec<ServerTool> = tools
            .into_iter()
            .filter(|tool| self.offers(&tool.name))
            .collect();
        warnings.truncate(MAX_WARNINGS);
        self.state.send_modify(|snapshot| {
            snapshot.tools = offered.into();
            snapshot.warnings = warnings.into();
            snapshot.generation += 1;
        });
    }

    fn offers(&self, tool: &str) -> bool {
        let matches = |pattern: &String| wildmatch::WildMatch::new(pattern).matches(tool);
        let included = self
            .spec
            .include_tools
            .as_ref()
            .is_none_or(|list| list.iter().any(matches));
        included && !self.spec.exclude_tools.iter().any(matches)
    }

    /// The keeper: starts the server, follows it until it is lost, and starts it again after a pause.
    async fn keep(self: Arc<Self>) {
        let mut pauses = Pauses::default();
        let mut greeting = Greeting::Initialize;
        loop {
            let Some(Lost { cause, answered }) = self.live(&mut greeting).await else {
                self.set(Status::Unusable("it was shut down".into()));
                return;
            };
            tracing::warn!(
                server = self.spec.name,
                cause,
                "an MCP server is not available"
            );
            let until = Instant::now() + pauses.after(answered);
            self.set(Status::Pausing {
                cause: cause.into(),
                until,
            });
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.shutdown.cancelled() => {
                    self.set(Status::Unusable("it was shut down".into()));
                    return;
                }
            }
            self.set(Status::Starting);
        }
    }

    /// One life of the server; gives how it ended, or nothing when we have ended it.
    async fn live(&self, greeting: &mut Greeting) -> Option<Lost> {
        let deadline = Instant::now() + self.spec.start_timeout;
        let connected = tokio::select! {
            connected = self.connect(greeting, deadline) => connected,
            // What was started is killed as its future is dropped.
            () = self.shutdown.cancelled() => return None,
        };
        let connection = match connected {
            Ok(connection) => connection,
            Err(cause) => {
                return Some(Lost {
                    cause,
                    answered: Duration::ZERO,
                });
            }
        };
        let Connection {
            running,
            peer,
            ears,
            mut child,
            words,
            ending,
        } = connection;
        let ready = Ready {
            peer: peer.clone(),
            progress: ears.progress.clone(),
        };
        let stop = running.cancellation_token();
        let mut over = std::pin::pin!(running.waiting());
        let subscribes = *greeting == Greeting::Discover;
        let follow = async {
            match subscribes {
                true => connect::follow_tools(&peer, &ears).await,
                false => std::future::pending().await,
            }
        };
        let mut follow = std::pin::pin!(follow);
        let listed = tokio::select! {
            listed = self.list_until(&peer, deadline) => Some(listed),
            () = self.shutdown.cancelled() => None,
        };
        let ready_since = Instant::now();
        let is_ready = matches!(listed, Some(Ok(_)));
        let (mut lost, mut ended_by_us) = match listed {
            Some(Ok(list)) => {
                self.set_tools(list);
                self.set(Status::Ready(ready));
                (None, false)
            }
            Some(Err(cause)) => (Some(cause), false),
            None => (None, true),
        };
        while lost.is_none() && !ended_by_us {
            tokio::select! {
                _ = &mut over => lost = Some("its connection was closed".to_owned()),
                () = self.shutdown.cancelled() => ended_by_us = true,
                () = &mut follow => {}
                () = ears.tools_changed.notified() => {
                    let listed = tokio::select! {
                        listed = self.list_again(&peer) => listed,
                        () = self.shutdown.cancelled() => {
                            ended_by_us = true;
                            continue;
                        }
                    };
                    match listed {
                        Ok(list) => {
                            self.set_tools(list);
                            self.changed.send_modify(|version| *version += 1);
                        }
                        Err(cause) => lost = Some(cause),
                    }
                }
            }
        }
        let answered = match is_ready {
            true => ready_since.elapsed(),
            false => Duration::ZERO,
        };
        stop.cancel();
        let mut cause = lost.unwrap_or_default();
        if let Some(why) = ending.get() {
            cause = why;
        }
        if let Some(child) = &mut child {
            let status = process::end(child).await;
            cause = format!("{cause}; its process ended with {status}");
        }
        (!ended_by_us).then(|| Lost {
            cause: self.explained(&cause, words.text()),
            answered,
        })
    }

    async fn connect(
        &self,
        greeting: &mut Greeting,
        deadline: Instant,
    ) -> Result<Connection, String> {
        let spec = self.spec.transport.as_ref().map_err(Clone::clone)?;
        let late = || {
            let seconds = self.spec.start_timeout.as_secs_f64();
            self.explained(&format!("it has not greeted within {seconds} s"), None)
        };
        let attempt = tokio::time::timeout_at(deadline, connect::connect(spec, *greeting));
        let first = match attempt.await.map_err(|_| late())? {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        if !first.other_greeting {
            return Err(self.explained(&first.cause, first.words.text()));
        }
        // It speaks, but not in this way; a server may know only the newest revision, or only those before.
        let other = match greeting {
            Greeting::Initialize => Greeting::Discover,
            Greeting::Discover => Greeting::Initialize,
        };
        let attempt = tokio::time::timeout_at(deadline, connect::connect(spec, other));
        match attempt.await.map_err(|_| late())? {
            Ok(connection) => {
                *greeting = other;
                Ok(connection)
            }
            Err(_) => Err(self.explained(&first.cause, first.words.text())),
        }
    }

    async fn list_until(
        &self,
        peer: &Peer<RoleClient>,
        deadline: Instant,
    ) -> Result<list::ToolList, String> {
        if peer
            .peer_info()
            .is_some_and(|info| info.capabilities.tools.is_none())
        {
            return Ok(list::ToolList::default());
        }
        match tokio::time::timeout_at(deadline, list::list_tools(peer)).await {
            Ok(Ok(list)) => Ok(list),
            Ok(Err(error)) => Err(format!(
                "its tools cannot be listed: {}",
                self.failed(&error).message
            )),
            Err(_) => Err("it has not listed its tools in time".to_owned()),
        }
    }

    async fn list_again(&self, peer: &Peer<RoleClient>) -> Result<list::ToolList, String> {
        tokio::time::sleep(SETTLE).await;
        self.list_until(peer, Instant::now() + self.spec.start_timeout)
            .await
    }

    fn explained(&self, cause: &str, words: Option<String>) -> String {
        let text = match words {
            Some(words) => format!("{cause}; its last words: {words}"),
            None => cause.to_owned(),
        };
        self.spec.secrets.redact(&text)
    }
}

/// How long a request may take whose server may be silent for `silence`: progress starts that anew.
fn times(silence: Duration) -> PeerRequestOptions {
    let mut options = PeerRequestOptions::with_timeout(silence);
    options.reset_timeout_on_progress = true;
    options.max_total_timeout = Some(MAX_CALL_TIME.max(silence));
    options
}

/// How a life of a server ended.
struct Lost {
    /// What happened, for people.
    cause: String,
    /// How long it had answered.
    answered: Duration,
}

/// The pauses before a server is started again.
struct Pauses {
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: FIRST_PAUSE }
    }
}

impl Pauses {
    /// The pause after a life in which the server has answered for so long.
    fn after(&mut self, answered: Duration) -> Duration {
        if answered >= STABLE_AFTER {
            self.next = FIRST_PAUSE;
        }
        let pause = self.next;
        self.next = (pause * 2).min(MAX_PAUSE);
        pause
    }
}

/// A request that the server is told to give up when nobody waits for it any more.
struct CancelOnDrop {
    peer: Peer<RoleClient>,
    request: Option<RequestId>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let (Some(request), Ok(runtime)) =
            (self.request.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let peer = self.peer.clone();
        runtime.spawn(async move {
            let reason = Some("the script no longer waits for it".to_owned());
            let cancelled = CancelledNotificationParam::new(Some(request), reason);
            // A server that cannot be told is lost anyway.
            let _ = peer.notify_cancelled(cancelled).await;
        });
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
