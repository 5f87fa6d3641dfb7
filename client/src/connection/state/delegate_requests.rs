// SPDX-License-Identifier: Apache-2.0
//! Tool calls and notifications that the host has asked for.

use std::sync::Arc;

use code_mode_api::{Notification, ToolInvocation};
use code_mode_protocol::{DelegateRequest, DelegateRequestId};

use super::delegate_calls::NOBODY_WAITS;
use super::tables::{ConnectionState, Outcome, violation};
use crate::connection::inputs::Effect;
use crate::generation::outer_cell_id;
use crate::messages;

/// Where a delegate call comes from, once it has been found valid.
struct Origin {
    session: Arc<str>,
    cell: Arc<str>,
    exec_call_id: Arc<str>,
}

impl ConnectionState {
    pub(super) fn delegate_request(
        &mut self,
        id: DelegateRequestId,
        request: DelegateRequest,
    ) -> Outcome<()> {
        let bytes = match &request {
            DelegateRequest::ToolInvoke { invocation } => invocation.input.get().len(),
            DelegateRequest::NotificationSend { notification } => notification.text.len(),
        };
        let (session, cell) = (request.session_id().as_str(), request.cell_id().as_str());
        let Some(origin) = self.admit(id, session, cell, bytes)? else {
            return Ok(());
        };
        let Some(entry) = self.sessions.get(&origin.session) else {
            return Ok(());
        };
        let session_id = entry.id.clone();
        let cell_id = outer_cell_id(entry.generation, &origin.cell);
        let exec_call_id = origin.exec_call_id.to_string();
        let delegate = entry.delegate.clone();
        let (key, cancel) = self.delegates.start(id, origin.session, origin.cell, bytes);
        self.effects.push_back(match request {
            DelegateRequest::ToolInvoke { invocation } => Effect::Tool {
                key,
                id,
                delegate,
                invocation: ToolInvocation {
                    session_id,
                    cell_id,
                    exec_call_id,
                    ..invocation
                },
                cancel,
            },
            DelegateRequest::NotificationSend { notification } => Effect::Notify {
                key,
                id,
                delegate,
                notification: Notification {
                    session_id,
                    cell_id,
                    exec_call_id,
                    ..notification
                },
                cancel,
            },
        });
        Ok(())
    }

    /// Checks a delegate request. `None` when it was answered with an error here.
    fn admit(
        &mut self,
        id: DelegateRequestId,
        session: &str,
        cell: &str,
        bytes: usize,
    ) -> Outcome<Option<Origin>> {
        let known = self
            .sessions
            .get_key_value(session)
            .and_then(|(session, entry)| {
                let (cell, state) = entry.cells.get_key_value(cell)?;
                (!state.closed).then(|| (Arc::clone(session), entry.gone, Arc::clone(cell), state))
            });
        let Some((session, gone, cell, state)) = known else {
            return violation(format!(
                "a delegate request for cell {cell} of session {session}, which does not live"
            ));
        };
        let exec_call_id = Arc::clone(&state.exec_call_id);
        let unwanted = gone || state.abandoned;
        if !self.delegates.given.insert(id) || self.delegates.keys.contains_key(&id) {
            return violation(format!("the delegate request id {id} twice"));
        }
        if unwanted {
            self.refuse(id, NOBODY_WAITS)?;
            return Ok(None);
        }
        let maximum = self.limits.max_delegate_calls;
        if self.delegates.calls.len() >= maximum {
            self.refuse(
                id,
                &format!("the client's limit of {maximum} open tool calls is reached"),
            )?;
            return Ok(None);
        }
        let maximum = self.limits.max_delegate_bytes;
        if self.delegates.bytes.saturating_add(bytes) > maximum {
            let text = format!("the client's limit of {maximum} bytes of tool inputs is reached");
            self.refuse(id, &text)?;
            return Ok(None);
        }
        Ok(Some(Origin {
            session,
            cell,
            exec_call_id,
        }))
    }

    /// Answers a delegate request with an error, without asking the delegate.
    pub(super) fn refuse(&mut self, id: DelegateRequestId, message: &str) -> Outcome<()> {
        let bytes = messages::delegate_error_frame(id, message)?;
        self.push_own(bytes, None);
        Ok(())
    }
}
