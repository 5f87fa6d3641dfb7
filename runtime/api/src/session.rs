// SPDX-License-Identifier: Apache-2.0
//! The traits that the in-process runtime and the process client both implement.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{
    BoxFuture, CellId, CellResponse, CellSummary, ExecuteRequest, HostExit, KeptText, RawJson,
    ReadOutputRequest, SessionDelegate, SessionError, SessionId, SessionOptions, WaitRequest,
};

/// The future of a cell's first response.
pub type FirstResponse = BoxFuture<'static, Result<CellResponse, SessionError>>;

/// A cell that has been accepted and runs.
///
/// Dropping it detaches the first observer; the cell runs on and can be waited for.
pub struct StartedCell {
    /// The cell's id, for [`CodeModeSession::wait`] and [`CodeModeSession::terminate`].
    pub cell_id: CellId,
    /// What the cell gives first: a yield, its result, or an error when the runtime is lost.
    pub first_response: FirstResponse,
}

/// Opens sessions.
pub trait SessionProvider: Send + Sync {
    /// Opens a session whose scripts call `delegate`.
    ///
    /// # Errors
    /// When a session of this id exists, a bound is reached, or the runtime cannot be had.
    fn open_session(
        &self,
        options: SessionOptions,
        delegate: Arc<dyn SessionDelegate>,
    ) -> BoxFuture<'_, Result<Arc<dyn CodeModeSession>, SessionError>>;
}

/// A session: cells that share stored values.
///
/// There is no `is_alive`: a session that has failed answers with its error.
pub trait CodeModeSession: Send + Sync {
    /// The session's id.
    fn session_id(&self) -> &SessionId;

    /// Starts a cell.
    ///
    /// # Errors
    /// When the request is refused, a bound is reached or the runtime is lost; the error says
    /// whether the script may have run.
    fn execute(&self, request: ExecuteRequest) -> BoxFuture<'_, Result<StartedCell, SessionError>>;

    /// Observes a cell until it ends, yields or `yield_time` has passed.
    ///
    /// # Errors
    /// [`SessionError::MissingCell`], [`SessionError::CellFinished`] or
    /// [`SessionError::BusyObserver`] among others.
    fn wait(&self, request: WaitRequest) -> BoxFuture<'_, Result<CellResponse, SessionError>>;

    /// Ends a cell; resolves after its V8 thread has really stopped.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait), except that a pending observer is no error: both get
    /// [`CellStatus::Terminated`](crate::CellStatus::Terminated).
    fn terminate(&self, cell_id: CellId) -> BoxFuture<'_, Result<CellResponse, SessionError>>;

    /// The cells that run or keep a result, in the order of their making.
    ///
    /// # Errors
    /// [`SessionError::InvalidRequest`] where cells cannot be listed; when the session is shut down or
    /// the runtime is lost.
    fn list_cells(&self) -> BoxFuture<'_, Result<Vec<CellSummary>, SessionError>> {
        let error = SessionError::InvalidRequest {
            message: "the cells of this session cannot be listed".to_owned(),
        };
        Box::pin(std::future::ready(Err(error)))
    }

    /// A part of the text that the host has cut out of a cell's responses, of one that runs on as well as of
    /// one that has ended. Only a session that was opened with
    /// [`cuts_output`](crate::SessionOptions::cuts_output) has any; it keeps it for as long as its host lives,
    /// within a bound of bytes.
    ///
    /// # Errors
    /// [`SessionError::InvalidRequest`] where no output is cut, [`SessionError::Refused`] when nothing of the
    /// cell was cut and is kept; when the session is shut down or the runtime is lost.
    fn read_output(
        &self,
        request: ReadOutputRequest,
    ) -> BoxFuture<'_, Result<KeptText, SessionError>> {
        let error = SessionError::InvalidRequest {
            message: format!(
                "this session does not cut output, so nothing of exec cell {} was cut",
                request.cell_id
            ),
        };
        Box::pin(std::future::ready(Err(error)))
    }

    /// The values that finished cells have stored, by key.
    ///
    /// # Errors
    /// When the session is shut down or the runtime is lost.
    fn export_store(&self) -> BoxFuture<'_, Result<BTreeMap<String, RawJson>, SessionError>>;

    /// Stores values for the cells to come, as if a cell had stored them.
    ///
    /// # Errors
    /// When a value or the whole store would exceed its bound (nothing is stored then), the
    /// session is shut down or the runtime is lost.
    fn import_store(
        &self,
        values: BTreeMap<String, RawJson>,
    ) -> BoxFuture<'_, Result<(), SessionError>>;

    /// How the process of the host that this session lost last has ended; `None` when none was lost,
    /// its end is not known yet, or there is no process.
    fn host_exit(&self) -> Option<HostExit> {
        None
    }

    /// Terminates every cell, waits for their threads, and closes the session. A second call
    /// resolves when the first has.
    ///
    /// # Errors
    /// When the runtime is lost before it has answered.
    fn shutdown(&self) -> BoxFuture<'_, Result<(), SessionError>>;
}
