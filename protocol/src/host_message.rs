//! Messages from a host to a client (wire contract, section *Host to client*).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::client_message::{StoreValues, values_least_bytes};
use crate::content::{OutputFields, one_response};
use crate::extension::{Extension, ExtensionSet};
use crate::handshake::RejectReason;
use crate::object::{ShapeError, required, wire_object, wire_strings};
use crate::outcome::{self, ErrorCode, Status};
use crate::{
    CapabilitySet, CellId, CellResponse, DelegateRequestId, ProtocolVersion, RawJson, RequestId,
    SessionId, SideEffects, ToolInvocation, WireError,
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
    #[serde(rename = "delegate/request")]
    DelegateRequest {
        /// The delegate request's id.
        id: DelegateRequestId,
        /// The session of the cell.
        session_id: SessionId,
        /// What is asked.
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
        session_id: SessionId,
        /// The cell.
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
        session_id: SessionId,
    },
    /// The cell was accepted; its first response comes by itself.
    #[serde(rename = "execution/started")]
    ExecutionStarted {
        /// The cell.
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
        session_id: SessionId,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// What a host asks of a client.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
#[serde(try_from = "DelegateRequestFields")]
pub enum DelegateRequest {
    /// Asks for a call of a tool.
    #[serde(rename = "tool/invoke")]
    ToolInvoke {
        /// The call.
        invocation: ToolInvocation,
    },
    /// Hands over a text of the script.
    #[serde(rename = "notification/send")]
    NotificationSend {
        /// [`ExecuteRequest::tool_call_id`](crate::ExecuteRequest::tool_call_id) of the cell.
        call_id: String,
        /// The cell.
        cell_id: CellId,
        /// The text.
        text: String,
    },
}

impl HostMessage {
    pub(crate) fn extensions(&self) -> ExtensionSet {
        let error = match self {
            Self::OperationResponse { result, .. } => match result {
                Ok(OperationValue::StoreExported { .. } | OperationValue::StoreImported {}) => {
                    return ExtensionSet::of(Extension::Store);
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
                Ok(OperationValue::WaitCompleted { outcome }) => outcome.response().least_bytes(),
                Ok(OperationValue::StoreExported { values }) => values_least_bytes(values),
                Ok(OperationValue::OutputRead { text, .. }) => text.len(),
                Ok(_) => 0,
                Err(error) => error.message.len(),
            },
            Self::ExecuteInitialResponse { result, .. } => match result {
                Ok(response) => response.least_bytes(),
                Err(error) => error.message.len(),
            },
            Self::DelegateRequest { request, .. } => match request {
                DelegateRequest::ToolInvoke { invocation } => invocation.least_bytes(),
                DelegateRequest::NotificationSend { text, .. } => text.len(),
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
        session_id: SessionId = "sessionId",
        cell_id: CellId = "cellId",
        request: DelegateRequest = "request",
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
                session_id: required(fields.session_id, "sessionId", owner)?,
                request: required(fields.request, "request", owner)?,
            },
            HostTag::DelegateCancel => Self::DelegateCancel {
                id: DelegateRequestId::new(id()?),
            },
            HostTag::CellClosed => Self::CellClosed {
                session_id: required(fields.session_id, "sessionId", owner)?,
                cell_id: required(fields.cell_id, "cellId", owner)?,
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
        side_effects: SideEffects = "side_effects",
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
        session_id: SessionId = "sessionId",
        cell_id: CellId = "cellId",
        outcome: WaitOutcome = "outcome",
        values: StoreValues = "values",
        offset: u64 = "offset",
        total_bytes: u64 = "totalBytes",
        text: String = "text",
        result: OutputFields = "Result",
        yielded: OutputFields = "Yielded",
        terminated: OutputFields = "Terminated",
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
                ValueTag::StoreExported => &["type", "values"],
                ValueTag::StoreImported => &["type"],
                ValueTag::OutputRead => &["type", "cellId", "offset", "totalBytes", "text"],
            },
        )?;
        Ok(match tag {
            ValueTag::SessionReady => Self::SessionReady {
                session_id: required(fields.session_id, "sessionId", owner)?,
            },
            ValueTag::ExecutionStarted => Self::ExecutionStarted {
                cell_id: required(fields.cell_id, "cellId", owner)?,
            },
            ValueTag::WaitCompleted => Self::WaitCompleted {
                outcome: required(fields.outcome, "outcome", owner)?,
            },
            ValueTag::SessionClosed => Self::SessionClosed {
                session_id: required(fields.session_id, "sessionId", owner)?,
            },
            ValueTag::StoreExported => Self::StoreExported {
                values: required(fields.values, "values", owner)?.0,
            },
            ValueTag::StoreImported => Self::StoreImported {},
            ValueTag::OutputRead => Self::OutputRead {
                cell_id: required(fields.cell_id, "cellId", owner)?,
                offset: required(fields.offset, "offset", owner)?,
                total_bytes: required(fields.total_bytes, "totalBytes", owner)?,
                text: required(fields.text, "text", owner)?,
            },
        })
    }
}

wire_object! {
    WaitOutcomeFields ("the outcome of a wait") {
        live: CellResponse = "LiveCell",
        missing: CellResponse = "MissingCell",
    }
}

impl TryFrom<WaitOutcomeFields> for WaitOutcome {
    type Error = ShapeError;

    fn try_from(fields: WaitOutcomeFields) -> Result<Self, ShapeError> {
        match (fields.live, fields.missing) {
            (Some(response), None) => Ok(Self::LiveCell(response)),
            (None, Some(response)) => Ok(Self::MissingCell(response)),
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
        invocation: ToolInvocation = "invocation",
        call_id: String = "callId",
        cell_id: CellId = "cellId",
        text: String = "text",
    }
}

impl TryFrom<DelegateRequestFields> for DelegateRequest {
    type Error = ShapeError;

    fn try_from(fields: DelegateRequestFields) -> Result<Self, ShapeError> {
        let tag = required(fields.tag, "type", "a delegate request")?;
        let owner = tag.as_str();
        match tag {
            DelegateTag::ToolInvoke => {
                fields.refuse_others(owner, &["type", "invocation"])?;
                Ok(Self::ToolInvoke {
                    invocation: required(fields.invocation, "invocation", owner)?,
                })
            }
            DelegateTag::NotificationSend => {
                fields.refuse_others(owner, &["type", "callId", "cellId", "text"])?;
                Ok(Self::NotificationSend {
                    call_id: required(fields.call_id, "callId", owner)?,
                    cell_id: required(fields.cell_id, "cellId", owner)?,
                    text: required(fields.text, "text", owner)?,
                })
            }
        }
    }
}
