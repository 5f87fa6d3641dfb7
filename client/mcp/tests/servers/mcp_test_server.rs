// SPDX-License-Identifier: Apache-2.0
//! MCP servers for tests: `mcp_test_server KIND`. Those with the SDK behave; those by hand do not. The kind
//! `newest` knows the newest revision of the protocol only.
//!
//! A server that is to meet others connects to the Unix socket `MEETING`, writes its name and waits for a
//! byte, so that a test knows that calls run at the same time without waiting for time.

use std::borrow::Cow;
use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    GetPromptRequestParams, GetPromptResponse, GetPromptResult, Implementation,
    InputRequiredResult, JsonObject, ListPromptsResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, Prompt, PromptMessage, ProtocolVersion,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource,
    ResourceContents, Role, ServerCapabilities, ServerConfig, SubscriptionFilter, Tool,
    ToolAnnotations,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler, ServiceExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

/// One white pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mP8/x8AAusB9Y9xk3sAAAAASUVORK5CYII=";

fn main() {
    let kind = std::env::args().nth(1).unwrap_or_default();
    match kind.as_str() {
        "table" | "people" | "chart" | "odd" | "newest" => run(Good::new(kind)),
        _ => by_hand(&kind),
    }
}

fn run(server: Good) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let running = server
            .serve((tokio::io::stdin(), tokio::io::stdout()))
            .await;
        if let Ok(running) = running {
            // Its client ends it.
            let _ = running.waiting().await;
        }
    });
}

/// A server that does what the protocol says.
struct Good {
    kind: String,
    /// How many tools were not there at first; whoever follows the list hears of each.
    grown: watch::Sender<usize>,
}

impl Good {
    fn new(kind: String) -> Self {
        Self {
            kind,
            grown: watch::Sender::new(0),
        }
    }

    fn tools(&self) -> Vec<Tool> {
        let read_only = || ToolAnnotations::new().read_only(true);
        let mut tools = match self.kind.as_str() {
            "table" => vec![
                tool("rows", "Gives rows of the table", &["count"]).with_annotations(read_only()),
                tool("drop", "Drops the table", &[])
                    .with_annotations(ToolAnnotations::new().destructive(true)),
                tool("grow", "Adds a tool", &[]),
            ],
            "people" => vec![
                tool("find", "Finds a person by number", &["id"]).with_annotations(read_only()),
                tool("fail", "Fails", &[]),
                tool("count", "Counts with progress", &["to"]),
                tool("hold", "Waits until it is cancelled", &[]),
                tool("environment", "A variable of its environment", &["name"]),
            ],
            "odd" => vec![
                tool("get-it", "Dash", &[]),
                tool("get_it", "Underscore", &[]),
                tool("2 büße.now", "No identifier", &[]),
                tool("class", "A reserved word", &[]),
            ],
            "newest" => vec![
                tool("link", "A link to what it has made", &[]),
                tool("list", "Structured content that is no object", &[]),
                tool("ask", "Asks the user", &[]),
                tool("grow", "Adds a tool", &[]),
            ],
            _ => vec![
                tool("draw", "Draws a chart of rows", &["rows"]),
                tool("both", "Text and image", &[]),
            ],
        };
        for number in 0..*self.grown.borrow() {
            tools.push(tool(
                &format!("grown_{number}"),
                "Was not there before",
                &[],
            ));
        }
        tools
    }

    /// Meets the others, if there is a meeting.
    async fn meet(&self, word: &str) {
        if let Some(path) = std::env::var_os("MEETING")
            && let Ok(mut socket) = tokio::net::UnixStream::connect(path).await
        {
            let _ = socket.write_all(format!("{word}\n").as_bytes()).await;
            let _ = socket.read_u8().await;
        }
    }
}

fn tool(name: &str, description: &str, parameters: &[&str]) -> Tool {
    let properties: JsonObject = parameters
        .iter()
        .map(|&parameter| {
            (
                parameter.to_owned(),
                json!({"description": format!("The {parameter}")}),
            )
        })
        .collect();
    let schema = json!({"type": "object", "properties": properties});
    let schema = schema.as_object().cloned().unwrap_or_default();
    Tool::new(name.to_owned(), description.to_owned(), Arc::new(schema))
}

impl ServerHandler for Good {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_resources()
            .enable_prompts()
            .build();
        ServerConfig::new(capabilities).with_server_info(Implementation::new(&self.kind, "1"))
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        match self.kind.as_str() {
            "newest" => Cow::Owned(vec![ProtocolVersion::LATEST]),
            _ => Cow::Borrowed(ProtocolVersion::KNOWN_VERSIONS),
        }
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
        let mut grown = self.grown.subscribe();
        loop {
            tokio::select! {
                changed = grown.changed() => {
                    if changed.is_err() || context.sink().notify_tool_list_changed().await.is_err() {
                        return Ok(());
                    }
                }
                () = context.cancelled() => return Ok(()),
            }
        }
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let text = |text: String| CallToolResult::success(vec![ContentBlock::text(text)]);
        let image = || ContentBlock::image(PNG, "image/png");
        let result = match &*request.name {
            "rows" => {
                self.meet("rows").await;
                let count = arguments["count"].as_u64().unwrap_or(2);
                let rows: Vec<Value> = (1..=count)
                    .map(|id| json!({"id": id, "amount": id * 10}))
                    .collect();
                CallToolResult::structured(json!({"rows": rows}))
            }
            "find" => {
                self.meet("find").await;
                text(
                    json!({"id": arguments["id"], "name": format!("person {}", arguments["id"])})
                        .to_string(),
                )
            }
            "draw" => {
                self.meet("draw").await;
                CallToolResult::success(vec![image()])
            }
            "both" => CallToolResult::success(vec![ContentBlock::text("a chart"), image()]),
            "fail" => CallToolResult::error(vec![ContentBlock::text("no such person")]),
            "count" => {
                let to = arguments["to"].as_u64().unwrap_or(3);
                if let Some(token) = context.meta.get_progress_token() {
                    for step in 1..=to {
                        let progress = ProgressNotificationParam::new(token.clone(), step as f64)
                            .with_total(to as f64)
                            .with_message(format!("step {step}"));
                        let _ = context.peer.notify_progress(progress).await;
                    }
                }
                text(to.to_string())
            }
            "hold" => {
                self.meet("held").await;
                context.ct.cancelled().await;
                self.meet("cancelled").await;
                text("cancelled".to_owned())
            }
            "environment" => {
                let name = arguments["name"].as_str().unwrap_or_default();
                let value = std::env::var(name).unwrap_or_default();
                if arguments["fail"] == json!(true) {
                    CallToolResult::error(vec![ContentBlock::text(format!("{name} is {value}"))])
                } else {
                    text(value)
                }
            }
            "grow" => {
                self.grown.send_modify(|grown| *grown += 1);
                if self.kind != "newest" {
                    let _ = context.peer.notify_tool_list_changed().await;
                }
                text("grown".to_owned())
            }
            "link" => CallToolResult::success(vec![
                ContentBlock::text("made"),
                ContentBlock::resource_link(Resource::new("test://made", "made")),
            ]),
            "list" => CallToolResult::structured(json!([1, {"two": 2}])),
            "ask" => return Ok(InputRequiredResult::from_request_state("state").into()),
            name => text(format!("called {name}")),
        };
        Ok(result.into())
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let uri = format!("test://{}", self.kind);
        Ok(ListResourcesResult::with_all_items(vec![Resource::new(
            uri, &self.kind,
        )]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let contents = ResourceContents::text(format!("what {} holds", request.uri), request.uri);
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(vec![Prompt::new(
            "greet",
            Some("Greets"),
            None,
        )]))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let name = request
            .arguments
            .unwrap_or_default()
            .get("name")
            .cloned()
            .unwrap_or_default();
        let text = format!("Greet {}", name.as_str().unwrap_or("nobody"));
        Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)]).into())
    }
}

/// Servers that misbehave, line by line.
fn by_hand(kind: &str) {
    let mut output = io::stdout().lock();
    if kind == "never" {
        // Reads all and answers nothing.
        io::stdin().lock().lines().for_each(drop);
        return;
    }
    if kind == "broken" {
        let key = std::env::var("SECRET_KEY").unwrap_or_default();
        io::stderr()
            .write_all(format!("cannot find my configuration with {key}\n").as_bytes())
            .expect("standard error");
        std::process::exit(7);
    }
    if kind.starts_with("gather") {
        gather(kind);
    }
    let mut crowd = Vec::new();
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let Ok(request) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        if request["id"] == json!("all") {
            let text = crowd.len().to_string();
            for id in crowd.drain(..) {
                let result = json!({"content": [{"type": "text", "text": text}]});
                send(
                    &mut output,
                    &json!({"jsonrpc": "2.0", "id": id, "result": result}),
                );
            }
            continue;
        }
        if request["id"].is_null() {
            continue;
        }
        let result = match request["method"].as_str().unwrap_or_default() {
            "initialize" => json!({
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": kind, "version": "1"},
            }),
            "tools/list" if kind == "endless" => endless(&request, "tools", 1),
            "resources/list" if kind == "endless" => endless(&request, "resources", 300),
            "prompts/list" if kind == "endless" => endless(&request, "prompts", 1),
            "tools/list" => json!({"tools": listed(kind)}),
            "tools/call" if kind == "crowd" => {
                crowd.push(request["id"].clone());
                if crowd.len() == CROWD {
                    // Whatever else is on its way to us comes before the answer to this.
                    send(
                        &mut output,
                        &json!({"jsonrpc": "2.0", "id": "all", "method": "ping"}),
                    );
                }
                continue;
            }
            "tools/call" => match called(kind, &request, &mut output) {
                Some(result) => result,
                None => continue,
            },
            _ => json!({}),
        };
        // The members stand in another order than the SDK writes them in.
        let answer = format!(
            "{{\"result\":{result},\"jsonrpc\":\"2.0\",\"id\":{}}}\n",
            request["id"]
        );
        if output
            .write_all(answer.as_bytes())
            .and_then(|()| output.flush())
            .is_err()
        {
            return;
        }
    }
}

/// Meets the others before it answers anything.
fn gather(kind: &str) {
    let path = std::env::var_os("MEETING").expect("a meeting");
    let mut socket = std::os::unix::net::UnixStream::connect(path).expect("the meeting");
    socket
        .write_all(format!("{kind}\n").as_bytes())
        .expect("the meeting");
    // Whoever holds the meeting may end it without a word.
    let _ = socket.read(&mut [0]);
}

/// Calls that the server `crowd` waits for before it answers any: as many as come to it at one time.
const CROWD: usize = code_mode_mcp::upstream::MAX_CALLS;

fn send(output: &mut impl Write, message: &Value) {
    // Nobody is there to hear of it if this fails.
    let _ = output
        .write_all(format!("{message}\n").as_bytes())
        .and_then(|()| output.flush());
}

/// A page of a list that never ends, with so many things in it.
fn endless(request: &Value, member: &str, count: usize) -> Value {
    let cursor = request["params"]["cursor"].as_str().unwrap_or("0");
    let page: usize = cursor.parse().unwrap_or(0);
    let things: Vec<Value> = (0..count)
        .map(|number| {
            let name = format!("t{page}_{number}");
            json!({"name": name, "uri": format!("test://{name}"), "inputSchema": {"type": "object"}})
        })
        .collect();
    json!({(member): things, "nextCursor": (page + 1).to_string()})
}

fn listed(kind: &str) -> Vec<Value> {
    let schema = json!({"type": "object"});
    match kind {
        "many" => (0..2_000)
            .map(|number| {
                json!({
                    "name": format!("tool_{number}"),
                    "description": format!("Does the thing number {number} to what it is given"),
                    "inputSchema": {
                        "type": "object",
                        "properties": {
                            "path": {"type": "string", "description": "What to do it to"},
                            "depth": {"type": "integer", "description": "How far to go"},
                        },
                        "required": ["path"],
                    },
                })
            })
            .collect(),
        "invalid" => vec![
            json!({"name": "good", "inputSchema": schema}),
            json!({"name": "text", "inputSchema": "not a schema"}),
            json!({"name": "loop", "inputSchema": {"$ref": "#"}}),
            json!({"name": "wrong", "inputSchema": {"type": 12, "properties": [], "required": "x"}}),
            json!({"inputSchema": schema}),
            json!(17),
        ],
        _ => vec![json!({"name": "go", "inputSchema": schema})],
    }
}

fn called(kind: &str, request: &Value, output: &mut impl Write) -> Option<Value> {
    match kind {
        "hang" => return None,
        "dies" => {
            io::stderr()
                .write_all(b"it was all too much\n")
                .expect("standard error");
            std::process::exit(9);
        }
        "large" => {
            let size = request["params"]["arguments"]["bytes"]
                .as_u64()
                .unwrap_or(40 << 20);
            let text = "x".repeat(usize::try_from(size).unwrap_or(0));
            return Some(json!({"content": [{"type": "text", "text": text}]}));
        }
        "flood" => {
            let line = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":1}}\n";
            while output.write_all(line.as_bytes()).is_ok() {}
            return None;
        }
        _ => {}
    }
    Some(
        json!({"content": [{"type": "text", "text": format!("called {}", request["params"]["name"])}]}),
    )
}
