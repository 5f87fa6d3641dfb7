// SPDX-License-Identifier: Apache-2.0
//! The calls that our hosts offer beside the contract.

use std::collections::BTreeMap;

use code_mode_api::waist::{Answer, Ask};
use code_mode_api::{CellId, CellState, CellSummary, RawJson, ReadOutputRequest};
use code_mode_grpc::extensions as v1;
use code_mode_grpc::extensions::code_mode_extensions_server::CodeModeExtensions;
use code_mode_grpc::prost::bytes::Bytes;
use code_mode_grpc::tonic;
use code_mode_grpc::tonic::{Request, Response, Status};
use tokio::sync::oneshot;

use crate::asks::Asker;
use crate::check;
use crate::door::Door;
use crate::session::{DoorSession, Effect};
use crate::status;

/// What this door has beside the contract, under the names of V1 frames.
const CAPABILITIES: [&str; 7] = [
    "code_mode/limits-v1",
    "code_mode/store-v1",
    "code_mode/errors-v1",
    "code_mode/globals-v1",
    "code_mode/exact-integers-v1",
    "code_mode/output-v1",
    "code_mode/cells-v1",
];

#[tonic::async_trait]
impl CodeModeExtensions for Door {
    async fn describe(
        &self,
        _: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        let capabilities = CAPABILITIES.map(ToOwned::to_owned).into();
        Ok(Response::new(v1::DescribeResponse { capabilities }))
    }

    async fn list_cells(
        &self,
        request: Request<v1::ListCellsRequest>,
    ) -> Result<Response<v1::ListCellsResponse>, Status> {
        let session = self.find(&request, &request.get_ref().session_id)?;
        match ask(&session, Ask::ListCells).await? {
            Answer::Cells(cells) => {
                let cells = cells.into_iter().map(listed).collect();
                Ok(Response::new(v1::ListCellsResponse { cells }))
            }
            _ => Err(wrong_answer()),
        }
    }

    async fn read_output(
        &self,
        request: Request<v1::ReadOutputRequest>,
    ) -> Result<Response<v1::ReadOutputResponse>, Status> {
        let session = self.find(&request, &request.get_ref().session_id)?;
        let request = request.into_inner();
        check::id("cell ID", &request.cell_id)?;
        let asked = ReadOutputRequest {
            cell_id: CellId::new(request.cell_id),
            offset: request.offset,
            max_bytes: request.max_bytes,
        };
        let kept = session.options.output.read(&asked);
        let kept = kept.map_err(|error| status::output_not_kept(&error))?;
        Ok(Response::new(v1::ReadOutputResponse {
            offset: kept.offset,
            total_bytes: kept.total_bytes,
            text: kept.text,
        }))
    }

    async fn export_store(
        &self,
        request: Request<v1::ExportStoreRequest>,
    ) -> Result<Response<v1::ExportStoreResponse>, Status> {
        let session = self.find(&request, &request.get_ref().session_id)?;
        match ask(&session, Ask::ExportStore).await? {
            Answer::Store(values) => {
                let values = values.into_iter().map(stored).collect();
                Ok(Response::new(v1::ExportStoreResponse { values }))
            }
            _ => Err(wrong_answer()),
        }
    }

    async fn import_store(
        &self,
        request: Request<v1::ImportStoreRequest>,
    ) -> Result<Response<v1::ImportStoreResponse>, Status> {
        let session = self.find(&request, &request.get_ref().session_id)?;
        let values = request
            .into_inner()
            .values
            .into_iter()
            .map(|value| Ok((value.key, check::json("stored value", &value.value_json)?)))
            .collect::<Result<BTreeMap<String, RawJson>, Status>>()?;
        match ask(&session, Ask::ImportStore(values)).await? {
            Answer::Done => Ok(Response::new(v1::ImportStoreResponse {})),
            _ => Err(wrong_answer()),
        }
    }
}

fn listed(cell: CellSummary) -> v1::Cell {
    let state = match cell.state {
        CellState::Running => v1::CellState::Running,
        CellState::Stopping => v1::CellState::Stopping,
        CellState::Ended => v1::CellState::Ended,
    };
    v1::Cell {
        cell_id: cell.cell_id.to_string(),
        call_id: cell.exec_call_id,
        state: state.into(),
        age_ms: u64::try_from(cell.age.as_millis()).unwrap_or(u64::MAX),
        output_bytes: cell.output_bytes,
        unread_bytes: cell.unread_bytes,
    }
}

fn stored((key, value): (String, RawJson)) -> v1::StoredValue {
    let json: Box<str> = value.into();
    v1::StoredValue {
        key,
        value_json: Bytes::from(String::from(json).into_bytes()),
    }
}

async fn ask(session: &DoorSession, asked: Ask) -> Result<Answer, Status> {
    let (answer, answered) = oneshot::channel();
    session.change(|state, effects| {
        let ask = state.asks.begin(Asker::Question { answer })?;
        effects.push(Effect::ask(ask, asked));
        Ok::<_, Status>(())
    })?;
    let closed = || Status::aborted("code-mode session is closed");
    answered.await.map_err(|_| closed())?
}

fn wrong_answer() -> Status {
    Status::internal("the session gave an answer that was not asked for")
}
