// SPDX-License-Identifier: Apache-2.0
//! What a host says, in the terms of this crate: [`messages`](crate::messages) reads it from frames, and
//! the state of a connection acts on it.

use std::collections::BTreeMap;

use code_mode_api::{CellResponse, CellSummary, KeptText, RawJson, ToolKind, ToolName};
use code_mode_protocol::{AgreedCapabilities, WireError};

/// The id of a request, unique on its connection.
pub(crate) type RequestId = i64;

/// A message of the host, in the terms of this crate.
#[derive(Debug)]
pub(crate) enum HostMessage {
    Ready(AgreedCapabilities),
    Rejected {
        reason: String,
    },
    Response {
        id: RequestId,
        result: Result<Answer, WireError>,
    },
    Initial {
        id: RequestId,
        result: Result<CellResponse, WireError>,
    },
    Tool(ToolRequest),
    Notify(NotifyRequest),
    CancelDelegate {
        id: i64,
    },
    CellClosed {
        session: String,
        cell: String,
    },
}

/// The value of a successful response.
#[derive(Debug)]
pub(crate) enum Answer {
    SessionReady { session: String },
    Started { cell: String },
    Live(CellResponse),
    Missing,
    SessionClosed { session: String },
    CellsListed(Vec<CellSummary>),
    StoreExported(BTreeMap<String, RawJson>),
    OutputRead(KeptText),
    StoreImported,
}

/// A script calls a tool.
#[derive(Debug)]
pub(crate) struct ToolRequest {
    pub(crate) id: i64,
    pub(crate) session: String,
    pub(crate) cell: String,
    pub(crate) call_id: String,
    pub(crate) tool_name: ToolName,
    pub(crate) tool_kind: ToolKind,
    pub(crate) input: RawJson,
}

/// A script notifies the embedder.
#[derive(Debug)]
pub(crate) struct NotifyRequest {
    pub(crate) id: i64,
    pub(crate) session: String,
    pub(crate) cell: String,
    pub(crate) text: String,
}
