// SPDX-License-Identifier: Apache-2.0
//! What an embedder asks of a session.

use std::sync::Arc;
use std::time::Duration;

use crate::{CellId, CellLimits, RawJson, SessionId};

/// How long an observer waits for a cell before it gets what has come so far, unless the request
/// says otherwise (10,000 ms, from the wire contract, section *Client to host*).
pub const DEFAULT_YIELD_TIME: Duration = Duration::from_millis(10_000);

/// What a session is opened with.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// The session's id; `None` lets the provider choose one.
    pub session_id: Option<SessionId>,
    /// Whether the host cuts the output of each response to the tokens that its request allows, 10,000 where
    /// it does not say, and keeps what it cuts for
    /// [`read_output`](crate::CodeModeSession::read_output). A host that cannot refuses the session, and so
    /// does a runtime in process. Defaults to `false`: all output is handed on.
    pub cuts_output: bool,
}

/// Which globals a script has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Globals {
    /// The language and the helpers of the contract, and nothing else.
    #[default]
    Contract,
    /// Those and what scripts expect of the web: `URL`, `TextEncoder`, `AbortController`, `structuredClone`,
    /// `console` and their like. Still no file, network or process.
    Web,
}

/// One script to run.
#[derive(Debug, Clone)]
pub struct ExecuteRequest {
    /// The embedder's id of the call that asked for this script; handed to every nested call.
    pub exec_call_id: String,
    /// The tools that the script may call.
    pub tools: Arc<[ToolDefinition]>,
    /// The JavaScript source of the cell.
    pub source: String,
    /// How long the first response may take before the cell yields; `None` is
    /// [`DEFAULT_YIELD_TIME`].
    pub yield_time: Option<Duration>,
    /// How many tokens of output the embedder means to keep, 0 to 2,147,483,647; advice only, unless the
    /// session's host [cuts output](SessionOptions::cuts_output).
    pub max_output_tokens: Option<u32>,
    /// Bounds of this cell; each lowers the operator's bound and never raises it.
    pub limits: CellLimits,
    /// Which globals the script has; `None` is what the operator has chosen.
    pub globals: Option<Globals>,
    /// Whether the script reads an integer that a number cannot hold for certain as a bigint, from a tool's
    /// answer and from the store; `None` is what the operator has chosen.
    pub exact_integers: Option<bool>,
}

impl ExecuteRequest {
    /// A request to run `source` with no tools and with every default.
    pub fn new(source: impl Into<String>) -> Self {
        Self {
            exec_call_id: String::new(),
            tools: Arc::from([]),
            source: source.into(),
            yield_time: None,
            max_output_tokens: None,
            limits: CellLimits::default(),
            globals: None,
            exact_integers: None,
        }
    }
}

/// A request to observe a cell that is running, or whose result nobody has read yet.
#[derive(Debug, Clone)]
pub struct WaitRequest {
    /// The cell to observe.
    pub cell_id: CellId,
    /// How long to wait before the cell yields; `None` is [`DEFAULT_YIELD_TIME`].
    pub yield_time: Option<Duration>,
}

/// A tool's own name, as its owner knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ToolName {
    /// The name within the namespace.
    pub name: String,
    /// The group that the tool belongs to, if it has one.
    pub namespace: Option<String>,
}

/// How a tool takes its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolKind {
    /// The input is a JSON object described by a schema.
    Function,
    /// The input is free text.
    Freeform,
}

/// A tool that a script can call.
#[derive(Debug, Clone)]
pub struct ToolDefinition {
    /// The name that scripts see, before normalisation.
    pub name: String,
    /// The name that a call of this tool carries.
    pub tool_name: ToolName,
    /// What the tool does, for the model.
    pub description: String,
    /// How the tool takes its input.
    pub kind: ToolKind,
    /// JSON schema of the input, if there is one.
    pub input_schema: Option<RawJson>,
    /// JSON schema of the result, if there is one.
    pub output_schema: Option<RawJson>,
}
