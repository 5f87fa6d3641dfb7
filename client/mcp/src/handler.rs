// SPDX-License-Identifier: Apache-2.0
//! The MCP server: `exec`, `wait` and `search` for one client.

// The SDK marks MCP's log messages as deprecated; the clients of today show them.
#![expect(
    deprecated,
    reason = "log messages are what clients before the revision of 2026-07 show"
)]

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use code_mode_api::CellId;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CustomRequest,
    CustomResult, ErrorCode, ErrorData, Implementation, InputRequiredResult, ListToolsResult,
    LoggingLevel, MetaObject, PaginatedRequestParams, ProtocolVersion, ServerCapabilities,
    ServerConfig, SetLevelRequestParams, SubscriptionFilter,
};
use rmcp::service::{NotificationContext, Peer, RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bounds::{MAX_CLIENT_MESSAGE_BYTES, TOO_LONG_METHOD};
use crate::guide;
use crate::observer::{Asking, Observer};
use crate::own::{self, Search};
use crate::session::{Answer, Exec, McpSession, Reply, Standing, Wait};

/// How long the servers' lists may go on changing before the client is told (200 ms).
const SETTLE: Duration = Duration::from_millis(200);

/// The server of one MCP session; dropping it ends the session's cells.
pub struct Handler {
    session: Arc<McpSession>,
    /// The session of clients that know none, where there are several clients.
    shared: Option<Arc<McpSession>>,
    /// Its place among those that may be open.
    _seat: Option<OwnedSemaphorePermit>,
    /// Whether the client wants log messages of the level at which scripts speak.
    wants_logs: AtomicBool,
    /// Ends what watches over the servers for this client.
    over: CancellationToken,
    _over: DropGuard,
}

impl Handler {
    /// A server over this session.
    pub fn new(session: Arc<McpSession>) -> Self {
        let over = CancellationToken::new();
        Self {
            session,
            shared: None,
            _seat: None,
            wants_logs: AtomicBool::new(true),
            _over: over.clone().drop_guard(),
            over,
        }
    }

    /// A server over `session` for a client that has sessions, else over `shared`. From the revision of
    /// 2026-07 on a request stands for itself, and nothing else would keep its cells and stored values.
    /// `seat` is given back with the session.
    pub fn sharing(
        session: Arc<McpSession>,
        shared: Arc<McpSession>,
        seat: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            shared: Some(shared),
            _seat: Some(seat),
            ..Self::new(session)
        }
    }

    fn session_of(&self, context: &RequestContext<RoleServer>) -> &Arc<McpSession> {
        let knows_sessions = context
            .protocol_version()
            .is_none_or(|version| version.has_initialize());
        match &self.shared {
            Some(shared) if !knows_sessions => shared,
            _ => &self.session,
        }
    }

    fn observer(&self, context: &RequestContext<RoleServer>) -> Observer {
        let token = context.meta.get_progress_token();
        let by_session = context
            .protocol_version()
            .is_none_or(|version| version.has_initialize());
        let logs = if by_session {
            self.wants_logs.load(Ordering::Relaxed)
        } else {
            // From the revision of 2026-07 on, a request says which log messages it wants.
            context.meta.log_level().is_some_and(includes_ours)
        };
        let elicitation = context
            .client_capabilities()
            .and_then(|capabilities| capabilities.elicitation);
        // A client that names no way of asking has that of forms.
        let has_forms = elicitation.is_some_and(|ways| ways.form.is_some() || ways.url.is_none());
        let asking = match (has_forms, by_session) {
            (false, _) => Asking::Never,
            (true, true) => Asking::ByRequest,
            (true, false) => Asking::ByAnswer,
        };
        Observer::new(context.peer.clone(), token, logs, asking)
    }

    /// Waits until what `exec`'s description says has changed.
    async fn changed(&self, told: &mut String) {
        changed(&self.session, told).await;
    }

    /// `asked` is the cell of an exec whose call waits for what the user was asked.
    async fn exec(
        &self,
        arguments: Value,
        asked: Option<CellId>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResponse {
        let arguments: ExecArguments = match serde_json::from_value(arguments) {
            Ok(arguments) => arguments,
            Err(error) => return wrong("exec", &error).into(),
        };
        let observer = self.observer(&context);
        let session = self.session_of(&context);
        if let Some(cell) = asked {
            let wait = Wait {
                cell,
                yield_time: arguments.yield_time_ms.map(Duration::from_millis),
                terminate: false,
                output_bytes: arguments.max_output_bytes,
            };
            return response(session.wait(wait, observer, &context.ct).await);
        }
        let exec = Exec {
            code: arguments.code,
            yield_time: arguments.yield_time_ms.map(Duration::from_millis),
            output_bytes: arguments.max_output_bytes,
        };
        response(session.exec(exec, observer, &context.ct).await)
    }

    async fn wait(
        &self,
        arguments: Value,
        context: RequestContext<RoleServer>,
    ) -> CallToolResponse {
        let arguments: WaitArguments = match serde_json::from_value(arguments) {
            Ok(arguments) => arguments,
            Err(error) => return wrong("wait", &error).into(),
        };
        let session = self.session_of(&context);
        let cell = match arguments.cell_id {
            None | Some(Value::Null) => {
                let list = vec![ContentBlock::text(session.list())];
                return CallToolResult::success(list).into();
            }
            Some(Value::String(id)) => CellId::new(id.trim()),
            // Models write the id of a cell as the number that it looks like.
            Some(other) => CellId::new(other.to_string()),
        };
        if let Some(offset) = arguments.offset {
            let limit = arguments.max_output_bytes;
            let read = session.read_output(&cell, offset, limit);
            return read.map_or_else(failure, CallToolResult::success).into();
        }
        let wait = Wait {
            cell,
            yield_time: arguments.yield_time_ms.map(Duration::from_millis),
            terminate: arguments.terminate,
            output_bytes: arguments.max_output_bytes,
        };
        let observer = self.observer(&context);
        response(session.wait(wait, observer, &context.ct).await)
    }

    async fn search(&self, arguments: Value) -> CallToolResult {
        let search: Search = match serde_json::from_value(arguments) {
            Ok(search) => search,
            Err(error) => return wrong("search", &error),
        };
        let catalog = self.session.front().settled_catalog().await;
        match own::search_text(&catalog, &search) {
            Ok(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
            Err(message) => failure(message),
        }
    }
}

/// Whether a client that asks for messages of this level and above gets what scripts say, which is `info`.
fn includes_ours(level: LoggingLevel) -> bool {
    matches!(level, LoggingLevel::Debug | LoggingLevel::Info)
}

async fn changed(session: &McpSession, told: &mut String) {
    let front = session.front();
    let mut changes = front.upstreams().changes();
    loop {
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
        tokio::time::sleep(SETTLE).await;
        let now = description(session);
        if now != *told {
            *told = now;
            return;
        }
    }
}

/// What of the list of tools depends on the servers.
fn description(session: &McpSession) -> String {
    let front = session.front();
    let tools = guide::tools(&front.catalog(), front.catalog_bytes);
    let exec = tools.into_iter().next().and_then(|exec| exec.description);
    exec.map(Cow::into_owned).unwrap_or_default()
}

#[derive(Deserialize)]
struct ExecArguments {
    code: String,
    yield_time_ms: Option<u64>,
    max_output_bytes: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WaitArguments {
    cell_id: Option<Value>,
    yield_time_ms: Option<u64>,
    terminate: bool,
    offset: Option<usize>,
    max_output_bytes: Option<usize>,
}

fn wrong(tool: &str, error: &serde_json::Error) -> CallToolResult {
    failure(format!("{tool} cannot take these arguments: {error}"))
}

fn failure(message: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(message)])
}

/// What is written into the state of an answer that asks the user, before the id of the cell.
const ASKED_CELL: &str = "cell ";

/// The cell whose call waits for what the user was asked, if the request is one that is made again.
fn asked_cell(request: &CallToolRequestParams) -> Option<CellId> {
    let state = request.request_state.as_deref()?;
    state.strip_prefix(ASKED_CELL).map(CellId::new)
}

fn response(answer: Answer) -> CallToolResponse {
    match answer {
        Answer::Reply(reply) => result(reply).into(),
        Answer::Ask { cell, requests } => {
            let state = format!("{ASKED_CELL}{cell}");
            InputRequiredResult::new(Some(requests), Some(state)).into()
        }
    }
}

fn result(reply: Reply) -> CallToolResult {
    let standing = match reply.standing {
        Standing::Running => "running",
        Standing::Completed => "completed",
        Standing::Failed => "failed",
        Standing::Terminated => "terminated",
    };
    let mut result = match reply.standing {
        Standing::Failed => CallToolResult::error(reply.content),
        _ => CallToolResult::success(reply.content),
    };
    result.structured_content = reply.structured;
    let mut meta = MetaObject::new();
    meta.insert("code_mode/status".to_owned(), json!(standing));
    if let Some(cell) = reply.cell {
        meta.insert("code_mode/cell_id".to_owned(), json!(cell.as_str()));
    }
    result.meta = Some(meta);
    result
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_logging()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("code_mode", env!("CARGO_PKG_VERSION")))
            .with_protocol_version(ProtocolVersion::LATEST)
            .with_instructions(
                "The tools of several MCP servers are called from JavaScript: write one script with \
                 exec rather than many single calls, and find tools with search.",
            )
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let front = self.session.front();
        let catalog = front.settled_catalog().await;
        Ok(ListToolsResult::with_all_items(guide::tools(
            &catalog,
            front.catalog_bytes,
        )))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let asked = asked_cell(&request);
        if let Some(responses) = &request.input_responses {
            self.session_of(&context).answer(responses);
        }
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let response = match &*request.name {
            "exec" => self.exec(arguments, asked, context).await,
            "wait" => self.wait(arguments, context).await,
            "search" => self.search(arguments).await.into(),
            other => {
                let message = format!("there is no tool {other}; there are exec, wait and search");
                return Err(ErrorData::invalid_params(message, None));
            }
        };
        Ok(response)
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        if request.method != TOO_LONG_METHOD {
            let unknown = ErrorCode::METHOD_NOT_FOUND;
            return Err(ErrorData::new(unknown, request.method, None));
        }
        let bytes = request
            .params
            .and_then(|params| params.get("bytes")?.as_u64());
        Err(ErrorData::invalid_request(
            format!(
                "the request of {} bytes is larger than the {MAX_CLIENT_MESSAGE_BYTES} that are taken",
                bytes.unwrap_or_default()
            ),
            None,
        ))
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.wants_logs
            .store(includes_ours(request.level), Ordering::Relaxed);
        Ok(())
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let (session, over) = (Arc::clone(&self.session), self.over.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = tell_changes(&session, &context.peer) => {}
                () = over.cancelled() => {}
            }
        });
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        let mut accepted = SubscriptionFilter::new();
        accepted.tools_list_changed = requested.tools_list_changed;
        Some(accepted)
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut told = description(&self.session);
        loop {
            tokio::select! {
                () = self.changed(&mut told) => {
                    if context.sink().notify_tool_list_changed().await.is_err() {
                        return Ok(());
                    }
                }
                () = context.cancelled() => return Ok(()),
            }
        }
    }
}

async fn tell_changes(session: &McpSession, peer: &Peer<RoleServer>) {
    let mut told = description(session);
    loop {
        changed(session, &mut told).await;
        if peer.notify_tool_list_changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::front::tests::front;

    #[tokio::test(start_paused = true)]
    async fn the_client_is_told_of_changes_once_they_have_settled() {
        // That it cannot be started is known at once.
        let front = front(r#"{"mcpServers": {"a": {"command": "/nowhere/server"}}}"#);
        let session = McpSession::new(Arc::clone(&front), "s".to_owned());
        let mut told = description(&session);
        assert!(!told.contains("Not available"), "{told}");
        let begun = Instant::now();
        tokio::join!(changed(&session, &mut told), async {
            front.upstreams().begin_all();
        });
        assert!(told.contains("Not available: a ("), "{told}");
        assert_eq!(begun.elapsed().as_millis(), SETTLE.as_millis());
    }
}
