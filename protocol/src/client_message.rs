//! Messages from a client to a host (wire contract, section *Client to host*).

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::extension::{Extension, ExtensionSet};
use crate::handshake::ClientHello;
use crate::limits::{CellExecutionLimitsFields, LimitsFields, OutputRangeFields, in_range};
use crate::message::Decoded;
use crate::number::Ranged;
use crate::object::{ShapeError, required, wire_object, wire_strings};
use crate::outcome::{self, ErrorCode, Status};
use crate::{
    CapabilitySet, CellExecutionLimits, CellId, DelegateError, DelegateRequestId, EnabledTools,
    Limits, MaxOutputTokens, OutputRange, RawJson, RequestId, SessionId, SideEffects,
    SupportedVersions,
};

/// A message from a client to a host.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type")]
#[serde(try_from = "ClientFields")]
#[expect(
    clippy::large_enum_variant,
    reason = "a message is read, moved once to whoever carries it out, and gone"
)]
pub enum ClientMessage {
    /// The first message of a connection.
    #[serde(rename = "connection/hello")]
    Hello(ClientHello),
    /// Asks for an operation; answered exactly once.
    #[serde(rename = "operation/request")]
    OperationRequest {
        /// The request's id.
        id: RequestId,
        /// What is asked.
        request: OperationRequest,
    },
    /// A hint that the answer of a request is no longer wanted.
    #[serde(rename = "operation/cancel")]
    OperationCancel {
        /// The request's id; one that is answered or unknown does nothing.
        id: RequestId,
    },
    /// Has an observed execute or wait answered now; needs [`Extension::YieldObservation`].
    #[serde(rename = "operation/yield")]
    OperationYield {
        /// The request's id; one that observes nothing does nothing.
        id: RequestId,
    },
    /// Answers a delegate request.
    #[serde(rename = "delegate/response")]
    DelegateResponse {
        /// The delegate request's id.
        id: DelegateRequestId,
        /// What the delegate gave.
        #[serde(serialize_with = "outcome::serialize")]
        result: Result<DelegateValue, DelegateError>,
    },
}

/// What a client asks of a host.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "method", rename_all_fields = "camelCase")]
#[serde(try_from = "OperationFields")]
pub enum OperationRequest {
    /// Opens a session.
    #[serde(rename = "session/open")]
    Open {
        /// An id that the connection has not used before.
        session_id: SessionId,
        /// Bounds of the session's cells; needs [`Extension::CellExecutionLimits`].
        #[serde(skip_serializing_if = "Option::is_none")]
        cell_execution_limits: Option<CellExecutionLimits>,
        /// Who cuts output that is too long; needs [`Extension::BoundedOutput`].
        #[serde(skip_serializing_if = "Option::is_none")]
        output_truncation: Option<OutputTruncation>,
    },
    /// Starts a cell.
    #[serde(rename = "session/execute")]
    Execute {
        /// The session.
        session_id: SessionId,
        /// The script and its tools.
        request: ExecuteRequest,
    },
    /// Observes a cell.
    #[serde(rename = "session/wait")]
    Wait {
        /// The session.
        session_id: SessionId,
        /// The cell, and for how long.
        request: WaitRequest,
        /// To how many tokens the host cuts the output, where it does; needs
        /// [`Extension::BoundedOutput`].
        #[serde(skip_serializing_if = "Option::is_none")]
        max_output_tokens: Option<u64>,
        /// Asks for text that was cut instead; needs [`Extension::Output`].
        #[serde(skip_serializing_if = "Option::is_none")]
        output_range: Option<OutputRange>,
    },
    /// Ends a cell; answered like a wait.
    #[serde(rename = "session/terminate")]
    Terminate {
        /// The session.
        session_id: SessionId,
        /// The cell.
        cell_id: CellId,
        /// As for a wait.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_output_tokens: Option<u64>,
    },
    /// Ends a session and its cells.
    #[serde(rename = "session/shutdown")]
    Shutdown {
        /// The session.
        session_id: SessionId,
    },
    /// Asks for the stored values; needs [`Extension::Store`].
    #[serde(rename = "session/exportStore")]
    ExportStore {
        /// The session.
        session_id: SessionId,
    },
    /// Stores values for the cells to come; needs [`Extension::Store`].
    #[serde(rename = "session/importStore")]
    ImportStore {
        /// The session.
        session_id: SessionId,
        /// The values by key.
        values: BTreeMap<String, RawJson>,
    },
}

impl OperationRequest {
    /// The session that the request is about.
    pub fn session_id(&self) -> &SessionId {
        match self {
            Self::Open { session_id, .. }
            | Self::Execute { session_id, .. }
            | Self::Wait { session_id, .. }
            | Self::Terminate { session_id, .. }
            | Self::Shutdown { session_id }
            | Self::ExportStore { session_id }
            | Self::ImportStore { session_id, .. } => session_id,
        }
    }
}

wire_strings! {
    /// Who cuts output that is longer than the tokens that a request allows.
    pub enum OutputTruncation ("who cuts output: client or server") {
        /// The client; the host sends all of it.
        Client = "client",
        /// The host.
        Server = "server",
    }
}

wire_strings! {
    /// Which globals a script has.
    pub enum Globals ("which globals a script has: contract or web") {
        /// Those of V1 and no others.
        Contract = "contract",
        /// Those and what scripts expect of the web.
        Web = "web",
    }
}

/// One script to run.
#[derive(Debug, Clone, Serialize)]
pub struct ExecuteRequest {
    /// The client's id of the call that asked for this script.
    pub tool_call_id: String,
    /// The tools that the script may call.
    pub enabled_tools: EnabledTools,
    /// The JavaScript source.
    pub source: String,
    /// How long the first response may take, in milliseconds; null means the host's default.
    pub yield_time_ms: Option<u64>,
    /// How many tokens of output the client means to keep.
    pub max_output_tokens: Option<MaxOutputTokens>,
    /// Bounds of this cell; needs [`Extension::Limits`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Which globals the script has; the host's default without it. Needs [`Extension::Globals`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub globals: Option<Globals>,
}

/// A request to observe a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitRequest {
    /// The cell.
    pub cell_id: CellId,
    /// How long to wait, in milliseconds; null means the host's default.
    pub yield_time_ms: Option<u64>,
}

/// What a delegate request gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type")]
#[serde(try_from = "DelegateValueFields")]
pub enum DelegateValue {
    /// A tool's result, which may be JSON `null`.
    #[serde(rename = "tool/result")]
    ToolResult {
        /// The result, passed through as it is.
        result: RawJson,
    },
    /// The notification has been delivered.
    #[serde(rename = "notification/delivered")]
    NotificationDelivered {},
}

impl ClientMessage {
    pub(crate) fn extensions(&self) -> ExtensionSet {
        let request = match self {
            Self::OperationRequest { request, .. } => request,
            Self::OperationYield { .. } => return ExtensionSet::of(Extension::YieldObservation),
            _ => return ExtensionSet::NONE,
        };
        let with = |used: ExtensionSet, is_used, extension| {
            if is_used { used.with(extension) } else { used }
        };
        match request {
            OperationRequest::Open {
                cell_execution_limits,
                output_truncation,
                ..
            } => with(
                with(
                    ExtensionSet::NONE,
                    cell_execution_limits.is_some(),
                    Extension::CellExecutionLimits,
                ),
                output_truncation.is_some(),
                Extension::BoundedOutput,
            ),
            OperationRequest::Wait {
                max_output_tokens,
                output_range,
                ..
            } => with(
                with(
                    ExtensionSet::NONE,
                    max_output_tokens.is_some(),
                    Extension::BoundedOutput,
                ),
                output_range.is_some(),
                Extension::Output,
            ),
            OperationRequest::Terminate {
                max_output_tokens: Some(_),
                ..
            } => ExtensionSet::of(Extension::BoundedOutput),
            OperationRequest::Execute { request, .. } => with(
                with(
                    ExtensionSet::NONE,
                    request.limits.is_some(),
                    Extension::Limits,
                ),
                request.globals.is_some(),
                Extension::Globals,
            ),
            OperationRequest::ExportStore { .. } | OperationRequest::ImportStore { .. } => {
                ExtensionSet::of(Extension::Store)
            }
            _ => ExtensionSet::NONE,
        }
    }

    pub(crate) fn least_bytes(&self) -> usize {
        match self {
            Self::OperationRequest { request, .. } => match request {
                OperationRequest::Execute { request, .. } => request
                    .enabled_tools
                    .least_bytes()
                    .saturating_add(request.source.len()),
                OperationRequest::ImportStore { values, .. } => values_least_bytes(values),
                _ => 0,
            },
            Self::DelegateResponse { result, .. } => match result {
                Ok(DelegateValue::ToolResult { result }) => result.get().len(),
                Ok(DelegateValue::NotificationDelivered {}) => 0,
                Err(error) => error.message.len(),
            },
            Self::Hello(_) | Self::OperationCancel { .. } | Self::OperationYield { .. } => 0,
        }
    }
}

/// Bytes that stored values take at least once they are encoded.
pub(crate) fn values_least_bytes(values: &BTreeMap<String, RawJson>) -> usize {
    values.iter().fold(0, |bytes, (key, value)| {
        bytes.saturating_add(key.len() + value.get().len())
    })
}

wire_strings! {
    enum ClientTag ("a type of message from a client to a host") {
        Hello = "connection/hello",
        OperationRequest = "operation/request",
        OperationCancel = "operation/cancel",
        OperationYield = "operation/yield",
        DelegateResponse = "delegate/response",
    }
}

wire_object! {
    ClientFields ("a message from a client to a host") {
        tag: ClientTag = "type",
        id: i64 = "id",
        request: OperationFields = "request",
        result: DelegateResult = "result",
        supported_versions: SupportedVersions = "supportedVersions",
        required_capabilities: CapabilitySet = "requiredCapabilities",
        optional_capabilities: CapabilitySet = "optionalCapabilities",
    }
}

impl TryFrom<ClientFields> for ClientMessage {
    type Error = ShapeError;

    fn try_from(fields: ClientFields) -> Result<Self, ShapeError> {
        match fields.decoded()? {
            Decoded::Message(message) => Ok(message),
            Decoded::OutOfRange { message, .. } => Err(ShapeError::new(message)),
        }
    }
}

/// A client's message as [`decode`](crate::decode) takes it: a request with a number outside its
/// range is told from what is no message.
#[derive(Deserialize)]
#[serde(try_from = "ClientFields")]
pub(crate) struct DecodedClientMessage(pub(crate) Decoded<ClientMessage>);

impl TryFrom<ClientFields> for DecodedClientMessage {
    type Error = ShapeError;

    fn try_from(fields: ClientFields) -> Result<Self, ShapeError> {
        fields.decoded().map(Self)
    }
}

impl ClientFields {
    fn decoded(self) -> Result<Decoded<ClientMessage>, ShapeError> {
        let fields = self;
        let tag = required(fields.tag, "type", "a message")?;
        let owner = tag.as_str();
        match tag {
            ClientTag::Hello => {
                let [versions, needed, optional] = [
                    "supportedVersions",
                    "requiredCapabilities",
                    "optionalCapabilities",
                ];
                fields.refuse_others(owner, &["type", versions, needed, optional])?;
                ClientHello::new(
                    required(fields.supported_versions, versions, owner)?,
                    required(fields.required_capabilities, needed, owner)?,
                    required(fields.optional_capabilities, optional, owner)?,
                )
                .map(|hello| Decoded::Message(ClientMessage::Hello(hello)))
                .map_err(ShapeError::from)
            }
            ClientTag::OperationRequest => {
                fields.refuse_others(owner, &["type", "id", "request"])?;
                let id = RequestId::new(required(fields.id, "id", owner)?);
                let request = required(fields.request, "request", owner)?;
                Ok(match request.into_request()? {
                    Ok(request) => {
                        Decoded::Message(ClientMessage::OperationRequest { id, request })
                    }
                    Err(message) => Decoded::OutOfRange { id, message },
                })
            }
            ClientTag::OperationCancel => {
                fields.refuse_others(owner, &["type", "id"])?;
                Ok(Decoded::Message(ClientMessage::OperationCancel {
                    id: RequestId::new(required(fields.id, "id", owner)?),
                }))
            }
            ClientTag::OperationYield => {
                fields.refuse_others(owner, &["type", "id"])?;
                Ok(Decoded::Message(ClientMessage::OperationYield {
                    id: RequestId::new(required(fields.id, "id", owner)?),
                }))
            }
            ClientTag::DelegateResponse => {
                fields.refuse_others(owner, &["type", "id", "result"])?;
                Ok(Decoded::Message(ClientMessage::DelegateResponse {
                    id: DelegateRequestId::new(required(fields.id, "id", owner)?),
                    result: required(fields.result, "result", owner)?.0,
                }))
            }
        }
    }
}

wire_strings! {
    enum MethodTag ("a method that a client can ask for") {
        Open = "session/open",
        Execute = "session/execute",
        Wait = "session/wait",
        Terminate = "session/terminate",
        Shutdown = "session/shutdown",
        ExportStore = "session/exportStore",
        ImportStore = "session/importStore",
    }
}

wire_object! {
    OperationFields ("an operation request") {
        method: MethodTag = "method",
        session_id: SessionId = "sessionId",
        cell_id: CellId = "cellId",
        request: InnerRequestFields = "request",
        values: StoreValues = "values",
        cell_execution_limits: Option<CellExecutionLimitsFields> = "cellExecutionLimits",
        output_truncation: Option<OutputTruncation> = "outputTruncation",
        max_output_tokens: Option<Ranged<u64>> = "maxOutputTokens",
        output_range: OutputRangeFields = "outputRange",
    }
}

impl TryFrom<OperationFields> for OperationRequest {
    type Error = ShapeError;

    fn try_from(fields: OperationFields) -> Result<Self, ShapeError> {
        fields.into_request()?.map_err(ShapeError::new)
    }
}

impl OperationFields {
    /// The request; the inner error says which number is outside its range.
    fn into_request(self) -> Result<Result<OperationRequest, String>, ShapeError> {
        let fields = self;
        let method = required(fields.method, "method", "an operation request")?;
        let owner = method.as_str();
        fields.refuse_others(
            owner,
            match method {
                MethodTag::Open => &[
                    "method",
                    "sessionId",
                    "cellExecutionLimits",
                    "outputTruncation",
                ],
                MethodTag::Shutdown | MethodTag::ExportStore => &["method", "sessionId"],
                MethodTag::Execute => &["method", "sessionId", "request"],
                MethodTag::Wait => &[
                    "method",
                    "sessionId",
                    "request",
                    "maxOutputTokens",
                    "outputRange",
                ],
                MethodTag::Terminate => &["method", "sessionId", "cellId", "maxOutputTokens"],
                MethodTag::ImportStore => &["method", "sessionId", "values"],
            },
        )?;
        let session_id = required(fields.session_id, "sessionId", owner)?;
        let max_output_tokens = in_range(fields.max_output_tokens.flatten(), "maxOutputTokens");
        let request = match method {
            MethodTag::Open => {
                let limits = fields.cell_execution_limits.flatten();
                let limits = limits.map(CellExecutionLimitsFields::into_limits);
                limits.transpose().map(|limits| OperationRequest::Open {
                    session_id,
                    cell_execution_limits: limits,
                    output_truncation: fields.output_truncation.flatten(),
                })
            }
            MethodTag::Execute => {
                let request = required(fields.request, "request", owner)?.into_execute()?;
                request.map(|request| OperationRequest::Execute {
                    session_id,
                    request,
                })
            }
            MethodTag::Wait => {
                let request = required(fields.request, "request", owner)?.into_wait()?;
                let range = fields.output_range.map(OutputRangeFields::into_range);
                let range = range.transpose()?.transpose();
                (|| {
                    Ok(OperationRequest::Wait {
                        session_id,
                        request: request?,
                        max_output_tokens: max_output_tokens?,
                        output_range: range?,
                    })
                })()
            }
            MethodTag::Terminate => {
                let cell_id = required(fields.cell_id, "cellId", owner)?;
                max_output_tokens.map(|max_output_tokens| OperationRequest::Terminate {
                    session_id,
                    cell_id,
                    max_output_tokens,
                })
            }
            MethodTag::Shutdown => Ok(OperationRequest::Shutdown { session_id }),
            MethodTag::ExportStore => Ok(OperationRequest::ExportStore { session_id }),
            MethodTag::ImportStore => Ok(OperationRequest::ImportStore {
                session_id,
                values: required(fields.values, "values", owner)?.0,
            }),
        };
        Ok(request)
    }
}

wire_object! {
    /// The `request` of an execute or of a wait; the method, which may come later, says of which.
    InnerRequestFields ("the request of an execute or a wait") {
        tool_call_id: String = "tool_call_id",
        enabled_tools: EnabledTools = "enabled_tools",
        source: String = "source",
        yield_time_ms: Option<Ranged<u64>> = "yield_time_ms",
        max_output_tokens: Option<Ranged<MaxOutputTokens>> = "max_output_tokens",
        limits: LimitsFields = "limits",
        globals: Globals = "globals",
        cell_id: CellId = "cell_id",
    }
}

impl InnerRequestFields {
    fn into_execute(self) -> Result<Result<ExecuteRequest, String>, ShapeError> {
        let owner = "the request of session/execute";
        if self.cell_id.is_some() {
            return Err(ShapeError::foreign_field("cell_id", owner));
        }
        let tool_call_id = required(self.tool_call_id, "tool_call_id", owner)?;
        let enabled_tools = required(self.enabled_tools, "enabled_tools", owner)?;
        let source = required(self.source, "source", owner)?;
        let request = || {
            Ok(ExecuteRequest {
                tool_call_id,
                enabled_tools,
                source,
                yield_time_ms: in_range(self.yield_time_ms.flatten(), "yield_time_ms")?,
                max_output_tokens: in_range(self.max_output_tokens.flatten(), "max_output_tokens")?,
                limits: self.limits.map(LimitsFields::into_limits).transpose()?,
                globals: self.globals,
            })
        };
        Ok(request())
    }

    fn into_wait(self) -> Result<Result<WaitRequest, String>, ShapeError> {
        let owner = "the request of session/wait";
        self.refuse_others(owner, &["cell_id", "yield_time_ms"])?;
        let cell_id = required(self.cell_id, "cell_id", owner)?;
        let yield_time = in_range(self.yield_time_ms.flatten(), "yield_time_ms");
        Ok(yield_time.map(|yield_time_ms| WaitRequest {
            cell_id,
            yield_time_ms,
        }))
    }
}

/// Stored values by key; a key that comes twice is refused.
pub(crate) struct StoreValues(pub(crate) BTreeMap<String, RawJson>);

impl<'de> Deserialize<'de> for StoreValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValuesVisitor;

        impl<'de> Visitor<'de> for ValuesVisitor {
            type Value = StoreValues;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("stored values (an object)")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StoreValues, A::Error> {
                let mut values = BTreeMap::new();
                while let Some((key, value)) = map.next_entry()? {
                    if values.insert(key, value).is_some() {
                        return Err(A::Error::custom("a stored value's key comes twice"));
                    }
                }
                Ok(StoreValues(values))
            }
        }

        deserializer.deserialize_map(ValuesVisitor)
    }
}

wire_object! {
    DelegateResultFields ("the result of a delegate response") {
        status: Status = "status",
        value: DelegateValue = "value",
        message: String = "message",
    }
}

/// The `result` of a delegate response.
#[derive(Deserialize)]
#[serde(try_from = "DelegateResultFields")]
struct DelegateResult(Result<DelegateValue, DelegateError>);

impl TryFrom<DelegateResultFields> for DelegateResult {
    type Error = ShapeError;

    fn try_from(fields: DelegateResultFields) -> Result<Self, ShapeError> {
        let DelegateResultFields {
            status,
            value,
            message,
        } = fields;
        let (no_code, no_side_effects) = (None::<ErrorCode>, None::<SideEffects>);
        let result = outcome::from_fields(status, value, message, no_code, no_side_effects)?;
        Ok(Self(
            result.map_err(|error| DelegateError::new(error.message)),
        ))
    }
}

wire_strings! {
    enum DelegateValueTag ("a type of value in a delegate response") {
        ToolResult = "tool/result",
        NotificationDelivered = "notification/delivered",
    }
}

wire_object! {
    DelegateValueFields ("the value of a delegate response") {
        tag: DelegateValueTag = "type",
        result: RawJson = "result",
    }
}

impl TryFrom<DelegateValueFields> for DelegateValue {
    type Error = ShapeError;

    fn try_from(fields: DelegateValueFields) -> Result<Self, ShapeError> {
        let tag = required(fields.tag, "type", "a delegate response's value")?;
        match tag {
            DelegateValueTag::ToolResult => Ok(Self::ToolResult {
                result: required(fields.result, "result", tag.as_str())?,
            }),
            DelegateValueTag::NotificationDelivered => {
                fields.refuse_others(tag.as_str(), &["type"])?;
                Ok(Self::NotificationDelivered {})
            }
        }
    }
}
