// SPDX-License-Identifier: Apache-2.0
//! How a simulated host breaks the contract.

use std::future::pending;

use code_mode_api::CellId;
use code_mode_protocol::{
    DelegateRequestId, HostMessage, OperationRequest, OperationValue, RequestId,
};
use tokio::io::AsyncWriteExt;

use super::fault::Fault;
use super::host::{Ended, Host, Work, cell_id, initial, session_id, started, tool_request};

impl Host {
    /// Breaks the contract, if there is what it takes.
    pub(super) async fn act_out(&mut self, fault: Fault) -> Work {
        let session = self.sessions.keys().next().cloned();
        let running = self.sessions.iter().find_map(|(name, session)| {
            let mut cells = session.cells.iter();
            let (number, _) = cells.find(|(_, cell)| cell.kept.is_none())?;
            Some((name.clone(), *number))
        });
        let waiting_execute = self
            .waiting
            .iter()
            .find(|(_, request)| matches!(request, OperationRequest::Execute { .. }))
            .map(|(id, request)| (*id, request.session_id().to_string()));
        let unknown = RequestId::new(-7);
        let messages = match (fault, session, running, waiting_execute) {
            (Fault::ResponseToNothing, ..) => vec![HostMessage::OperationResponse {
                id: unknown,
                result: Ok(OperationValue::StoreImported {}),
            }],
            (Fault::InitialToNothing, ..) => vec![initial(unknown, 1)],
            (Fault::ResponseTwice, ..) => self.last_response.clone().into_iter().collect(),
            (Fault::ResponseOfWrongKind, _, _, Some((id, _))) => {
                vec![HostMessage::OperationResponse {
                    id,
                    result: Ok(OperationValue::StoreImported {}),
                }]
            }
            (Fault::InitialBeforeStarted, _, _, Some((id, _))) => vec![initial(id, 1)],
            (Fault::CellIdTwice, _, _, Some((id, name))) if self.sessions.contains_key(&name) => {
                match self.sessions[&name].last_cell {
                    0 => Vec::new(),
                    last => vec![started(id, cell_id(last))],
                }
            }
            (Fault::CellIdNoNumber, _, _, Some((id, _))) => {
                vec![started(id, CellId::new("first"))]
            }
            (Fault::WrongCell, _, Some((name, number)), _) => {
                let initial_of = self.cell(&name, number).initial;
                initial_of
                    .map(|id| initial(id, number + 100))
                    .into_iter()
                    .collect()
            }
            (Fault::ToolForNoCell, Some(name), ..) => vec![HostMessage::DelegateRequest {
                id: DelegateRequestId::new(-1),
                request: tool_request(session_id(&name), 999),
            }],
            (Fault::ToolAfterClosed, ..) => {
                let closed = self.last_closed.clone();
                closed
                    .map(|(session_id, cell_id)| HostMessage::DelegateRequest {
                        id: DelegateRequestId::new(-1),
                        request: tool_request(
                            session_id,
                            cell_id.as_str().parse().expect("a number"),
                        ),
                    })
                    .into_iter()
                    .collect()
            }
            (Fault::ClosedTwice, ..) => {
                let closed = self.last_closed.clone();
                closed
                    .map(|(session_id, cell_id)| HostMessage::CellClosed {
                        session_id,
                        cell_id,
                    })
                    .into_iter()
                    .collect()
            }
            (Fault::ClosedWithOpenCall, _, Some((name, number)), _) => {
                let cell = self.cell(&name, number);
                if cell.initial.is_some() || cell.calls.is_empty() {
                    Vec::new()
                } else {
                    let (session_id, cell_id) = (session_id(&name), cell_id(number));
                    vec![HostMessage::CellClosed {
                        session_id,
                        cell_id,
                    }]
                }
            }
            (Fault::DelegateIdTwice, _, Some((name, number)), _) => {
                let request = HostMessage::DelegateRequest {
                    id: DelegateRequestId::new(-2),
                    request: tool_request(session_id(&name), number),
                };
                vec![request.clone(), request]
            }
            (Fault::Garbage, ..) => return self.act_bytes(b"\x02\0\0\0{]").await,
            (Fault::UnknownField, ..) => {
                let payload = br#"{"type":"delegate/cancel","id":1,"why":"because"}"#;
                let mut bytes = u32::try_from(payload.len())
                    .expect("short")
                    .to_le_bytes()
                    .to_vec();
                bytes.extend_from_slice(payload);
                return self.act_bytes(&bytes).await;
            }
            (Fault::TooLong, ..) => return self.act_bytes(&[0xff; 4]).await,
            (Fault::Truncated, ..) => {
                return self.act_bytes(b"\x20\0\0\0{\"type\":").await;
            }
            (Fault::OutputEnds, ..) => {
                self.act();
                self.output.shutdown().await.map_err(|_| Ended(3))?;
                return self.expect_notice().await;
            }
            (Fault::Exits | Fault::ExitsInWords, ..) => {
                self.act();
                return Err(Ended(17));
            }
            (Fault::Hangs, ..) => {
                self.act();
                // Goes on reading, so only a call's deadline can tell.
                loop {
                    match self.frames.next_payload().await {
                        Ok(Some(_)) => {}
                        _ => return Ok(()),
                    }
                }
            }
            (Fault::StopsReading, ..) => {
                self.act();
                pending::<()>().await;
                return Ok(());
            }
            _ => Vec::new(),
        };
        if messages.is_empty() {
            return Ok(());
        }
        self.act();
        for message in messages {
            self.send(message).await?;
        }
        self.expect_notice().await
    }

    async fn act_bytes(&mut self, bytes: &[u8]) -> Work {
        self.act();
        self.output.write_all(bytes).await.map_err(|_| Ended(3))?;
        if self.fault == Some(Fault::Truncated) {
            return Err(Ended(9));
        }
        self.expect_notice().await
    }
}
