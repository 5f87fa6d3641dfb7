// SPDX-License-Identifier: Apache-2.0
//! Cells in a list of them, on the wire.
//!
//! Part of the extension [`Extension::Cells`](crate::Extension::Cells).

use std::time::Duration;

use code_mode_api::{CellId, CellState, CellSummary};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::limits::milliseconds;
use crate::object::{ShapeError, required, wire_names, wire_object, wire_value};
use crate::wire::Wire;

wire_names! {
    CellState, "a cell's state: running, stopping or ended" {
        Running = "running",
        Stopping = "stopping",
        Ended = "ended",
    }
}

impl Serialize for Wire<&CellSummary> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let cell = self.0;
        let mut object = serializer.serialize_struct("CellSummary", 6)?;
        object.serialize_field("cellId", &Wire(&cell.cell_id))?;
        object.serialize_field("callId", &cell.exec_call_id)?;
        object.serialize_field("state", &Wire(&cell.state))?;
        object.serialize_field("ageMs", &milliseconds(cell.age))?;
        object.serialize_field("outputBytes", &cell.output_bytes)?;
        object.serialize_field("unreadBytes", &cell.unread_bytes)?;
        object.end()
    }
}

wire_object! {
    CellSummaryFields ("a cell in a list of cells") {
        cell_id: Wire<CellId> = "cellId",
        call_id: String = "callId",
        state: Wire<CellState> = "state",
        age_ms: u64 = "ageMs",
        output_bytes: u64 = "outputBytes",
        unread_bytes: u64 = "unreadBytes",
    }
}

impl TryFrom<CellSummaryFields> for CellSummary {
    type Error = ShapeError;

    fn try_from(fields: CellSummaryFields) -> Result<Self, ShapeError> {
        let owner = "a cell in a list of cells";
        Ok(Self {
            cell_id: required(fields.cell_id, "cellId", owner)?.0,
            exec_call_id: required(fields.call_id, "callId", owner)?,
            state: required(fields.state, "state", owner)?.0,
            age: Duration::from_millis(required(fields.age_ms, "ageMs", owner)?),
            output_bytes: required(fields.output_bytes, "outputBytes", owner)?,
            unread_bytes: required(fields.unread_bytes, "unreadBytes", owner)?,
        })
    }
}

wire_value!(CellSummaryFields => CellSummary);

/// `serialize_with` for a list of cells.
pub(crate) fn serialize_list<S: Serializer>(
    cells: &[CellSummary],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    crate::wire::WireList(cells).serialize(serializer)
}

/// Bytes that a list takes at least once it is encoded.
pub(crate) fn list_bytes(cells: &[CellSummary]) -> usize {
    cells.iter().fold(0, |bytes, cell| {
        bytes.saturating_add(cell.cell_id.as_str().len() + cell.exec_call_id.len())
    })
}
