// SPDX-License-Identifier: Apache-2.0
//! What a session tells its door.

use std::mem::size_of;

use super::{Answer, AskId, CallId, Values};
use crate::{
    CellId, CellResponse, CellSummary, ContentItem, Notification, SessionError, ToolInvocation,
};

/// What an event counts for in a budget beside its texts, in bytes: itself, and its place in a queue.
pub const MINIMUM_EVENT_BYTES: usize = 2 * size_of::<Event>();

/// What a session tells its door, through the outbox of a cell or of the session.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The cell of an execute runs. The first event in a cell's outbox.
    Started {
        /// The execute.
        ask: AskId,
        /// Its cell.
        cell_id: CellId,
    },
    /// A script calls a tool; the door answers.
    Call {
        /// Names the call in its answer.
        call: CallId,
        /// What the script asks for.
        invocation: ToolInvocation,
    },
    /// A script sends a text; the door answers with any JSON once it is delivered.
    Notify {
        /// Names the notification in its answer.
        call: CallId,
        /// What the script says.
        notification: Notification,
    },
    /// A call or notification needs no answer any more. Before the result of its cell.
    CallCancelled {
        /// The call or notification.
        call: CallId,
    },
    /// What an observation gave: the last event of its ask.
    Observed {
        /// The execute, wait or terminate.
        ask: AskId,
        /// What it gave.
        response: CellResponse,
    },
    /// Nothing more about this cell will follow. The last event in its outbox, once.
    CellClosed {
        /// The cell.
        cell_id: CellId,
    },
    /// An ask that observes nothing is answered, or one was refused or lost. In the outbox of the
    /// session.
    Answered {
        /// The ask.
        ask: AskId,
        /// Its answer.
        result: Result<Answer, SessionError>,
    },
}

impl Event {
    /// What the event counts for in a budget, in bytes: [`MINIMUM_EVENT_BYTES`] and all its texts.
    pub fn bytes(&self) -> usize {
        let texts = match self {
            Self::Started { .. } | Self::CallCancelled { .. } | Self::CellClosed { .. } => 0,
            Self::Call { invocation, .. } => {
                invocation.input.get().len() + invocation.exec_call_id.len()
            }
            Self::Notify { notification, .. } => {
                notification.text.len() + notification.exec_call_id.len()
            }
            Self::Observed { response, .. } => response.content_items.iter().map(item_bytes).sum(),
            Self::Answered { result, .. } => match result {
                Ok(Answer::Store(values)) => values_bytes(values),
                Ok(Answer::Cells(cells)) => cells.iter().map(summary_bytes).sum(),
                Ok(Answer::Done) | Err(_) => 0,
            },
        };
        MINIMUM_EVENT_BYTES + texts
    }
}

fn item_bytes(item: &ContentItem) -> usize {
    size_of::<ContentItem>()
        + match item {
            ContentItem::Text(text) => text.len(),
            ContentItem::Image { image_url, .. } => image_url.len(),
            ContentItem::Audio { audio_url } => audio_url.len(),
        }
}

fn summary_bytes(cell: &CellSummary) -> usize {
    size_of::<CellSummary>() + cell.cell_id.as_str().len() + cell.exec_call_id.len()
}

fn values_bytes(values: &Values) -> usize {
    values
        .iter()
        .map(|(key, value)| key.len() + value.get().len())
        .sum()
}
