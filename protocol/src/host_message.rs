// SPDX-License-Identifier: Apache-2.0
//! Messages from a host to a client (wire contract, section *Host to client*).

use std::collections::BTreeMap;

use code_mode_api::{
    CellId, CellResponse, CellSummary, Notification, SessionId, SideEffects, ToolInvocation,
};
use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Deserialize, Serialize, Serializer};

use crate::cell_summary;
use crate::client_message::{StoreValues, values_least_bytes};
use crate::content::{BodyFields, one_response, response_bytes};
use crate::extension::{Extension, ExtensionSet};
use crate::hello::RejectReason;
use crate::object::{ShapeError, required, wire_object, wire_strings};
use crate::outcome::{self, ErrorCode, Status};
use crate::tool::{ToolInvocationFields, invocation_bytes};
use crate::wire::{self, Wire, check_cell_id};
use crate::{
    CapabilitySet, DelegateRequestId, InvalidValue, ProtocolVersion, RawJson, RequestId, WireError,
};

/// A message from a host to a client.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
#[serde(try_from = "HostFields")]
pub enum HostMessage {
    /// Accepts the hello.
    #[serde(rename = "connection/ready")]
    Ready {
        /// The version that both sides speak from now on.
        selected_version: ProtocolVersion,
        /// The capabilities that both sides have.
        capabilities: CapabilitySet,
    },
    /// Refuses the hello; the host closes the connection after it.
    #[serde(rename = "connection/rejected")]
    Rejected {
        /// Why.
        reason: RejectReason,
    },
    /// The one answer of a request.
    #[serde(rename = "operation/response")]
    OperationResponse {
        /// The request's id.
        id: RequestId,
        /// What the operation gave.
        #[serde(serialize_with = "outcome::serialize")]
        result: Result<OperationValue, WireError>,
    },
    /// What a cell gave first; comes once after `execution/started`, with the same id.
    #[serde(rename = "execute/initialResponse")]
    ExecuteInitialResponse {
        /// The execute request's id.
        id: RequestId,
        /// The cell's first response.
        #[serde(serialize_with = "outcome::serialize")]
        result: Result<CellResponse, WireError>,
    },
    /// Asks the client to act for a cell.
    #[serde(
        rename = "delegate/request",
        serialize_with = "serialize_delegate_request"
    )]
    DelegateRequest {
        /// The delegate request's id.
        id: DelegateRequestId,
        /// What is asked, and by which cell of which session.
        request: DelegateRequest,
    },
    /// Says that the answer of a delegate request is no longer wanted.
    #[serde(rename = "delegate/cancel")]
    DelegateCancel {
        /// The delegate request's id.
        id: DelegateRequestId,
    },
    /// Says that nothing more about this cell will follow.
    #[serde(rename = "cell/closed")]
    CellClosed {
        /// The session of the cell.
        #[serde(serialize_with = "wire::serialize")]
        session_id: SessionId,
        /// The cell.
        #[serde(serialize_with = "wire::serialize")]
        cell_id: CellId,
    },
}

/// What an operation gave.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum OperationValue {
    /// The session is open.
    #[serde(rename = "session/ready")]
    SessionReady {
        /// The session.
        #[serde(serialize_with = "wire::serialize")]
        session_id: SessionId,
    },
    /// The cell was accepted; its first response comes by itself.
    #[serde(rename = "execution/started")]
    ExecutionStarted {
        /// The cell.
        #[serde(serialize_with = "wire::serialize")]
        cell_id: CellId,
    },
    /// A wait or a terminate has its answer.
    #[serde(rename = "wait/completed")]
    WaitCompleted {
        /// The answer.
        outcome: WaitOutcome,
    },
    /// The session and its cells have ended.
    #[serde(rename = "session/closed")]
    SessionClosed {
        /// The session.
        #[serde(serialize_with = "wire::serialize")]
        session_id: SessionId,
    },
    /// The cells that run or keep a result, in the order of their making; needs [`Extension::Cells`].
    #[serde(rename = "cells/listed")]
    CellsListed {
        /// The cells.
        #[serde(serialize_with = "cell_summary::serialize_list")]
        cells: Vec<CellSummary>,
    },
    /// The stored values; needs [`Extension::Store`].
    #[serde(rename = "store/exported")]
    StoreExported {
        /// The values by key.
        values: BTreeMap<String, RawJson>,
    },
    /// The values were stored; needs [`Extension::Store`].
    #[serde(rename = "store/imported")]
    StoreImported {},
    /// A part of the text that was cut out of a cell's responses; needs [`Extension::Output`].
    #[serde(rename = "output/read")]
    OutputRead {
        /// The cell.
        #[serde(serialize_with = "wire::serialize")]
        cell_id: CellId,
        /// Where the part begins, in bytes of UTF-8; at the start of a character.
        offset: u64,
        /// How much text is kept of this cell, in bytes of UTF-8.
        total_bytes: u64,
        /// The part.
        text: String,
    },
}

/// Whether the cell of a wait or terminate was there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WaitOutcomeFields")]
pub enum WaitOutcome {
    /// The cell was there.
    LiveCell(CellResponse),
    /// There is no such cell, or its result was delivered before.
    MissingCell(CellResponse),
}

impl WaitOutcome {
    /// What is said about the cell.
    pub fn response(&self) -> &CellResponse {
        match self {
            Self::LiveCell(response) | Self::MissingCell(response) => response,
        }
    }
}

impl Serialize for WaitOutcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, response) = match self {
            Self::LiveCell(response) => ("LiveCell", response),
            Self::MissingCell(response) => ("MissingCell", response),
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(name, &Wire(response))?;
        map.end()
    }
}

impl Serialize for Wire<&OperationValue> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// What a host asks of a client.
#[derive(Debug, Clone)]
pub enum DelegateRequest {
    /// Asks for a call of a tool. Its `exec_call_id` does not cross the wire: a client knows it by the
    /// cell, and what was decoded has an empty one.
    ToolInvoke {
        /// The call.
        invocation: ToolInvocation,
    },
    /// Hands over a text of the script.
    NotificationSend {
        /// The text, and whose it is.
        notification: Notification,
    },
}

impl DelegateRequest {
    /// The session of the cell.
    pub fn session_id(&self) -> &SessionId {
        match self {
            Self::ToolInvoke { invocation } => &invocation.session_id,
            Self::NotificationSend { notification } => &notification.session_id,
        }
    }

    /// The cell.
    pub fn cell_id(&self) -> &CellId {
        match self {
            Self::ToolInvoke { invocation } => &invocation.cell_id,
            Self::NotificationSend { notification } => &notification.cell_id,
        }
    }
}

fn serialize_delegate_request<S: Serializer>(
    id: &DelegateRequestId,
    request: &DelegateRequest,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_struct("DelegateRequest", 3)?;
    object.serialize_field("id", id)?;
    object.serialize_field("sessionId", &Wire(request.session_id()))?;
    object.serialize_field("request", &Wire(request))?;
    object.end()
}

/// The session is not part of a request's object, since the message names it.
impl Serialize for Wire<&DelegateRequest> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            DelegateRequest::ToolInvoke { invocation } => {
                let mut object = serializer.serialize_struct("ToolInvoke", 2)?;
                object.serialize_field("type", &DelegateTag::ToolInvoke)?;
                object.serialize_field("invocation", &Wire(invocation))?;
                object.end()
            }
            DelegateRequest::NotificationSend { notification } => {
                let mut object = serializer.serialize_struct("NotificationSend", 4)?;
                object.serialize_field("type", &DelegateTag::NotificationSend)?;
                object.serialize_field("callId", &notification.exec_call_id)?;
                object.serialize_field("cellId", &Wire(&notification.cell_id))?;
                object.serialize_field("text", &notification.text)?;
                object.end()
            }
        }
    }
}

impl HostMessage {
    /// Refuses what the interface's types can hold and the wire cannot.
    pub(crate) fn check(&self) -> Result<(), InvalidValue> {
        match self {
            Self::OperationResponse { result, .. } => match result {
                Ok(OperationValue::ExecutionStarted { cell_id }) => check_cell_id(cell_id),
                Ok(OperationValue::WaitCompleted { outcome }) => {
                    check_cell_id(&outcome.response().cell_id)
                }
                Ok(OperationValue::OutputRead { cell_id, .. }) => check_cell_id(cell_id),
                Ok(OperationValue::CellsListed { cells }) => cells
                    .iter()
                    .try_for_each(|cell| check_cell_id(&cell.cell_id)),
                _ => Ok(()),
            },
            Self::ExecuteInitialResponse { result, .. } => match result {
                Ok(response) => check_cell_id(&response.cell_id),
                Err(_) => Ok(()),
            },
            Self::DelegateRequest { request, .. } => check_cell_id(request.cell_id()),
            Self::CellClosed { cell_id, .. } => check_cell_id(cell_id),
            Self::Ready { .. } | Self::Rejected { .. } | Self::DelegateCancel { .. } => Ok(()),
        }
    }

    pub(crate) fn extensions(&self) -> ExtensionSet {
        let error = match self {
            Self::OperationResponse { result, .. } => match result {
                Ok(OperationValue::StoreExported { .. } | OperationValue::StoreImported {}) => {
                    return ExtensionSet::of(Extension::Store);
                }
                Ok(OperationValue::CellsListed { .. }) => {
                    return ExtensionSet::of(Extension::Cells);
                }
                Ok(OperationValue::OutputRead { .. }) => {
                    return ExtensionSet::of(Extension::Output);
                }
                Ok(_) => None,
                Err(error) => Some(error),
            },
            Self::ExecuteInitialResponse { result, .. } => result.as_ref().err(),
            _ => None,
        };
        match error {
            Some(WireError {
                details: Some(_), ..
            }) => ExtensionSet::of(Extension::Errors),
            _ => ExtensionSet::NONE,
        }
    }

    pub(crate) fn least_bytes(&self) -> usize {
        match self {
            Self::OperationResponse { result, .. } => match result {
                Ok(OperationValue::WaitCompleted { outcome }) => response_bytes(outcome.response()),
                Ok(OperationValue::StoreExported { values }) => values_least_bytes(values),
                Ok(OperationValue::OutputRead { text, .. }) => text.len(),
                Ok(OperationValue::CellsListed { cells }) => cell_summary::list_bytes(cells),
                Ok(_) => 0,
                Err(error) => error.message.len(),
            },
            Self::ExecuteInitialResponse { result, .. } => match result {
                Ok(response) => response_bytes(response),
                Err(error) => error.message.len(),
            },
            Self::DelegateRequest { request, .. } => match request {
                DelegateRequest::ToolInvoke { invocation } => invocation_bytes(invocation),
                DelegateRequest::NotificationSend { notification } => notification.text.len(),
            },
            _ => 0,
        }
    }
}

wire_strings! {
    enum HostTag ("a type of message from a host to a client") {
        Ready = "connection/ready",
        Rejected = "connection/rejected",
        OperationResponse = "operation/response",
        ExecuteInitialResponse = "execute/initialResponse",
        DelegateRequest = "delegate/request",
        DelegateCancel = "delegate/cancel",
        CellClosed = "cell/closed",
    }
}

wire_object! {
    HostFields ("a message from a host to a client") {
        tag: HostTag = "type",
        id: i64 = "id",
        result: ResultFields = "result",
        session_id: Wire<SessionId> = "sessionId",
        cell_id: Wire<CellId> = "cellId",
        request: DelegateRequestFields = "request",
        selected_version: ProtocolVersion = "selectedVersion",
        capabilities: CapabilitySet = "capabilities",
        reason: RejectReason = "reason",
    }
}

impl TryFrom<HostFields> for HostMessage {
    type Error = ShapeError;

    fn try_from(fields: HostFields) -> Result<Self, ShapeError> {
        let tag = required(fields.tag, "type", "a message")?;
        let owner = tag.as_str();
        fields.refuse_others(
            owner,
            match tag {
                HostTag::Ready => &["type", "selectedVersion", "capabilities"],
                HostTag::Rejected => &["type", "reason"],
                HostTag::OperationResponse | HostTag::ExecuteInitialResponse => {
                    &["type", "id", "result"]
                }
                HostTag::DelegateRequest => &["type", "id", "sessionId", "request"],
                HostTag::DelegateCancel => &["type", "id"],
                HostTag::CellClosed => &["type", "sessionId", "cellId"],
            },
        )?;
        let id = || required(fields.id, "id", owner);
        Ok(match tag {
            HostTag::Ready => Self::Ready {
                selected_version: required(fields.selected_version, "selectedVersion", owner)?,
                capabilities: required(fields.capabilities, "capabilities", owner)?,
            },
            HostTag::Rejected => Self::Rejected {
                reason: required(fields.reason, "reason", owner)?,
            },
            HostTag::OperationResponse => Self::OperationResponse {
                id: RequestId::new(id()?),
                result: required(fields.result, "result", owner)?.into_operation_result()?,
            },
            HostTag::ExecuteInitialResponse => Self::ExecuteInitialResponse {
                id: RequestId::new(id()?),
                result: required(fields.result, "result", owner)?.into_initial_response()?,
            },
            HostTag::DelegateRequest => Self::DelegateRequest {
                id: DelegateRequestId::new(id()?),
                request: {
                    let session_id = required(fields.session_id, "sessionId", owner)?.0;
                    required(fields.request, "request", owner)?.of_session(session_id)?
                },
            },
            HostTag::DelegateCancel => Self::DelegateCancel {
                id: DelegateRequestId::new(id()?),
            },
            HostTag::CellClosed => Self::CellClosed {
                session_id: required(fields.session_id, "sessionId", owner)?.0,
                cell_id: required(fields.cell_id, "cellId", owner)?.0,
            },
        })
    }
}

wire_object! {
    ResultFields ("a result") {
        status: Status = "status",
        value: ValueFields = "value",
        message: String = "message",
        code: ErrorCode = "code",
        side_effects: Wire<SideEffects> = "side_effects",
    }
}

impl ResultFields {
    fn into_result(self) -> Result<Result<ValueFields, WireError>, ShapeError> {
        outcome::from_fields(
            self.status,
            self.value,
            self.message,
            self.code,
            self.side_effects,
        )
    }

    fn into_operation_result(self) -> Result<Result<OperationValue, WireError>, ShapeError> {
        self.into_result()?
            .map(OperationValue::try_from)
            .transpose_inner()
    }

    fn into_initial_response(self) -> Result<Result<CellResponse, WireError>, ShapeError> {
        self.into_result()?
            .map(ValueFields::into_initial_response)
            .transpose_inner()
    }
}

/// Moves the shape error of a value outwards: the value of an answer could not be understood,
/// which is another thing than an answer that says error.
trait TransposeInner<T> {
    fn transpose_inner(self) -> Result<Result<T, WireError>, ShapeError>;
}

impl<T> TransposeInner<T> for Result<Result<T, ShapeError>, WireError> {
    fn transpose_inner(self) -> Result<Result<T, WireError>, ShapeError> {
        match self {
            Ok(value) => value.map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }
}

wire_strings! {
    enum ValueTag ("a type of value in an operation response") {
        SessionReady = "session/ready",
        ExecutionStarted = "execution/started",
        WaitCompleted = "wait/completed",
        SessionClosed = "session/closed",
        CellsListed = "cells/listed",
        StoreExported = "store/exported",
        StoreImported = "store/imported",
        OutputRead = "output/read",
    }
}

wire_object! {
    /// The `value` of an operation response or of an initial response; the message's type, which
    /// may come later, says of which.
    ValueFields ("the value of a result") {
        tag: ValueTag = "type",
        session_id: Wire<SessionId> = "sessionId",
        cell_id: Wire<CellId> = "cellId",
        outcome: WaitOutcome = "outcome",
        values: StoreValues = "values",
        cells: Wire<Vec<CellSummary>> = "cells",
        offset: u64 = "offset",
        total_bytes: u64 = "totalBytes",
        text: String = "text",
        result: BodyFields = "Result",
        yielded: BodyFields = "Yielded",
        terminated: BodyFields = "Terminated",
    }
}

impl ValueFields {
    fn into_initial_response(self) -> Result<CellResponse, ShapeError> {
        let variants = ["Result", "Yielded", "Terminated"];
        self.refuse_others("the value of execute/initialResponse", &variants)?;
        one_response(self.result, self.yielded, self.terminated)
    }
}

impl TryFrom<ValueFields> for OperationValue {
    type Error = ShapeError;

    fn try_from(fields: ValueFields) -> Result<Self, ShapeError> {
        let tag = required(fields.tag, "type", "the value of operation/response")?;
        let owner = tag.as_str();
        fields.refuse_others(
            owner,
            match tag {
                ValueTag::SessionReady | ValueTag::SessionClosed => &["type", "sessionId"],
                ValueTag::ExecutionStarted => &["type", "cellId"],
                ValueTag::WaitCompleted => &["type", "outcome"],
                ValueTag::CellsListed => &["type", "cells"],
                ValueTag::StoreExported => &["type", "values"],
                ValueTag::StoreImported => &["type"],
                ValueTag::OutputRead => &["type", "cellId", "offset", "totalBytes", "text"],
            },
        )?;
        Ok(match tag {
            ValueTag::SessionReady => Self::SessionReady {
                session_id: required(fields.session_id, "sessionId", owner)?.0,
            },
            ValueTag::ExecutionStarted => Self::ExecutionStarted {
                cell_id: required(fields.cell_id, "cellId", owner)?.0,
            },
            ValueTag::WaitCompleted => Self::WaitCompleted {
                outcome: required(fields.outcome, "outcome", owner)?,
            },
            ValueTag::SessionClosed => Self::SessionClosed {
                session_id: required(fields.session_id, "sessionId", owner)?.0,
            },
            ValueTag::CellsListed => Self::CellsListed {
                cells: required(fields.cells, "cells", owner)?.0,
            },
            ValueTag::StoreExported => Self::StoreExported {
                values: required(fields.values, "values", owner)?.0,
            },
            ValueTag::StoreImported => Self::StoreImported {},
            ValueTag::OutputRead => Self::OutputRead {
                cell_id: required(fields.cell_id, "cellId", owner)?.0,
                offset: required(fields.offset, "offset", owner)?,
                total_bytes: required(fields.total_bytes, "totalBytes", owner)?,
                text: required(fields.text, "text", owner)?,
            },
        })
    }
}

wire_object! {
    WaitOutcomeFields ("the outcome of a wait") {
        live: Wire<CellResponse> = "LiveCell",
        missing: Wire<CellResponse> = "MissingCell",
    }
}

impl TryFrom<WaitOutcomeFields> for WaitOutcome {
    type Error = ShapeError;

    fn try_from(fields: WaitOutcomeFields) -> Result<Self, ShapeError> {
        match (fields.live, fields.missing) {
            (Some(Wire(response)), None) => Ok(Self::LiveCell(response)),
            (None, Some(Wire(response))) => Ok(Self::MissingCell(response)),
            _ => Err(ShapeError::new(
                "the outcome of a wait must be LiveCell or MissingCell",
            )),
        }
    }
}

wire_strings! {
    enum DelegateTag ("a type of delegate request") {
        ToolInvoke = "tool/invoke",
        NotificationSend = "notification/send",
    }
}

wire_object! {
    DelegateRequestFields ("a delegate request") {
        tag: DelegateTag = "type",
        invocation: ToolInvocationFields = "invocation",
        call_id: String = "callId",
        cell_id: Wire<CellId> = "cellId",
        text: String = "text",
    }
}

impl DelegateRequestFields {
    /// The request by a cell of this session.
    fn of_session(self, session_id: SessionId) -> Result<DelegateRequest, ShapeError> {
        let tag = required(self.tag, "type", "a delegate request")?;
        let owner = tag.as_str();
        match tag {
            DelegateTag::ToolInvoke => {
                self.refuse_others(owner, &["type", "invocation"])?;
                let invocation = required(self.invocation, "invocation", owner)?;
                Ok(DelegateRequest::ToolInvoke {
                    invocation: invocation.of_session(session_id)?,
                })
            }
            DelegateTag::NotificationSend => {
                self.refuse_others(owner, &["type", "callId", "cellId", "text"])?;
                let notification = Notification {
                    session_id,
                    exec_call_id: required(self.call_id, "callId", owner)?,
                    cell_id: required(self.cell_id, "cellId", owner)?.0,
                    text: required(self.text, "text", owner)?,
                };
                Ok(DelegateRequest::NotificationSend { notification })
            }
        }
    }
}
