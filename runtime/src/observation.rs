// SPDX-License-Identifier: Apache-2.0
//! Observations of a cell.

use code_mode_api::{CellResponse, SessionError};

/// Called exactly once with what an observation gave, on whatever thread that happens; must not
/// block.
pub type Observer = Box<dyn FnOnce(Result<CellResponse, SessionError>) + Send>;

/// Names one observation of a cell, for [`Session::detach`](crate::Session::detach).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ObservationId(pub(crate) u64);
