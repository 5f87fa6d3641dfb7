// SPDX-License-Identifier: Apache-2.0
//! The async traits of [`code_mode_api`] over the runtime's callbacks.

use std::collections::BTreeMap;
use std::sync::Arc;

use code_mode_api::{
    BoxFuture, CellId, CellResponse, CellStatus, CellSummary, CodeModeSession, ExecuteRequest,
    RawJson, SessionDelegate, SessionError, SessionId, SessionOptions, SessionProvider,
    SideEffects, StartedCell, WaitRequest,
};
use tokio::sync::oneshot;

use crate::cell::Cell;
use crate::observation::{ObservationId, Observer};
use crate::runtime::Runtime;
use crate::session::Session;

type Response = Result<CellResponse, SessionError>;

impl SessionProvider for Runtime {
    fn open_session(
        &self,
        options: SessionOptions,
        delegate: Arc<dyn SessionDelegate>,
    ) -> BoxFuture<'_, Result<Arc<dyn CodeModeSession>, SessionError>> {
        let session = if options.cuts_output {
            Err(SessionError::InvalidRequest {
                message: "a runtime in process hands all output on; only a host can cut it"
                    .to_owned(),
            })
        } else {
            self.open(options.session_id, delegate)
        };
        Box::pin(async move { Ok(Arc::new(session?) as Arc<dyn CodeModeSession>) })
    }
}

impl CodeModeSession for Session {
    fn session_id(&self) -> &SessionId {
        self.id()
    }

    fn execute(&self, request: ExecuteRequest) -> BoxFuture<'_, Result<StartedCell, SessionError>> {
        Box::pin(async move {
            let admitted = self.admit(request)?;
            let cell_id = admitted.id().clone();
            let (observer, response) = observer(Arc::clone(admitted.cell()));
            let observation = admitted.start(observer);
            let detach = DetachOnDrop::new(self.clone(), cell_id.clone(), observation);
            Ok(StartedCell {
                cell_id,
                first_response: Box::pin(async move {
                    let response = receive(response).await;
                    detach.disarm();
                    response
                }),
            })
        })
    }

    fn wait(&self, request: WaitRequest) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            let (observer, response) = observer(self.find(&request.cell_id)?);
            let observation = self.observe(&request.cell_id, request.yield_time, observer)?;
            let detach = DetachOnDrop::new(self.clone(), request.cell_id, observation);
            let response = receive(response).await;
            detach.disarm();
            response
        })
    }

    fn terminate(&self, cell_id: CellId) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            let (observer, response) = observer(self.find(&cell_id)?);
            Session::terminate(self, &cell_id, observer)?;
            receive(response).await
        })
    }

    fn list_cells(&self) -> BoxFuture<'_, Result<Vec<CellSummary>, SessionError>> {
        let cells = Session::list_cells(self);
        Box::pin(async move { cells })
    }

    fn export_store(&self) -> BoxFuture<'_, Result<BTreeMap<String, RawJson>, SessionError>> {
        let values = Session::export_store(self);
        Box::pin(async move { values })
    }

    fn import_store(
        &self,
        values: BTreeMap<String, RawJson>,
    ) -> BoxFuture<'_, Result<(), SessionError>> {
        let result = Session::import_store(self, values);
        Box::pin(async move { result })
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), SessionError>> {
        Box::pin(async move {
            Session::shutdown(self).await;
            Ok(())
        })
    }
}

fn observer(cell: Arc<Cell>) -> (Observer, oneshot::Receiver<Unread>) {
    let (sender, receiver) = oneshot::channel();
    let observer: Observer = Box::new(move |response| {
        // The receiver is gone when its future was dropped; what comes back is dropped here then.
        let _ = sender.send(Unread {
            cell,
            response: Some(response),
        });
    });
    (observer, receiver)
}

async fn receive(response: oneshot::Receiver<Unread>) -> Response {
    let response = response.await.ok().and_then(Unread::read);
    response.unwrap_or_else(|| {
        Err(SessionError::RuntimeLost {
            cause: "the observation was dropped unanswered".to_owned(),
            side_effects: SideEffects::Possible,
        })
    })
}

/// A response on its way to the future that waits for it. Dropped on that way, because the future was, it
/// goes back to its cell.
struct Unread {
    cell: Arc<Cell>,
    /// `None` once read.
    response: Option<Response>,
}

impl Unread {
    fn read(mut self) -> Option<Response> {
        let response = self.response.take();
        if let Some(Ok(CellResponse {
            status: CellStatus::Completed { .. } | CellStatus::Terminated,
            ..
        })) = response
        {
            self.cell.heard();
        }
        response
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let Some(response) = self.response.take() {
            self.cell.take_back(response);
        }
    }
}

/// Takes an observation back when its future is dropped before it has resolved.
struct DetachOnDrop {
    armed: Option<(Session, CellId, ObservationId)>,
}

impl DetachOnDrop {
    fn new(session: Session, cell: CellId, observation: ObservationId) -> Self {
        Self {
            armed: Some((session, cell, observation)),
        }
    }

    fn disarm(mut self) {
        self.armed = None;
    }
}

impl Drop for DetachOnDrop {
    fn drop(&mut self) {
        if let Some((session, cell, observation)) = self.armed.take() {
            session.detach(&cell, observation);
        }
    }
}
