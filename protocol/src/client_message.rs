// SPDX-License-Identifier: Apache-2.0
//! Messages from a client to a host (wire contract, section *Client to host*).

use std::collections::BTreeMap;
use std::fmt;

use std::time::Duration;

use code_mode_api::{
    CellId, CellLimits, ExecuteRequest, Globals, SessionId, SideEffects, ToolDefinition, ToolError,
    WaitRequest,
};
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use crate::extension::{Extension, ExtensionSet};
use crate::hello::ClientHello;
use crate::limits::{
    CellExecutionLimitsFields, LimitsFields, OutputRangeFields, in_range, milliseconds,
};
use crate::number::{MAX_OUTPUT_TOKENS, OutputTokens, Ranged};
use crate::object::{ShapeError, required, wire_names, wire_object, wire_strings};
use crate::outcome::{self, ErrorCode, Status};
use crate::tool::definition_bytes;
use crate::wire::{self, Wire, WireList, check_cell_id};
use crate::{
    CapabilitySet, CellExecutionLimits, DelegateRequestId, EncodedTools, InvalidValue, OutputRange,
    RawJson, RequestId, SupportedVersions,
};

/// A message from a client to a host.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type")]
#[serde(try_from = "ClientFields")]
#[expect(
    clippy::large_enum_variant,
    reason = "a message is moved a few times and kept nowhere; a box would cost each request more"
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
        result: Result<DelegateValue, ToolError>,
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
        #[serde(serialize_with = "wire::serialize")]
        session_id: SessionId,
        /// Bounds of the session's cells; needs [`Extension::CellExecutionLimits`].
        #[serde(skip_serializing_if = "Option::is_none")]
        cell_execution_limits: Option<CellExecutionLimits>,
        /// Who cuts output that is too long; needs [`Extension::BoundedOutput`].
        #[serde(skip_serializing_if = "Option::is_none")]
        output_truncation: Option<OutputTruncation>,
    },
    /// Starts a cell.
    #[serde(rename = "session/execute", serialize_with = "serialize_execute")]
    Execute {
        /// The session.
        session_id: SessionId,
        /// The script and its tools. Bounds of the cell need [`Extension::Limits`].
        request: ExecuteRequest,
        /// The tools of the request, if they were encoded before: they are then not encoded again.
        encoded_tools: Option<EncodedTools>,
    },
    /// Observes a cell.
    #[serde(rename = "session/wait")]
    Wait {
        /// The session.
        #[serde(serialize_with = "wire::serialize")]
        session_id: SessionId,
        /// The cell, and for how long.
        #[serde(serialize_with = "wire::serialize")]
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
        #[serde(serialize_with = "wire::serialize")]
        session_id: SessionId,
        /// The cell.
        #[serde(serialize_with = "wire::serialize")]
        cell_id: CellId,
        /// As for a wait.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_output_tokens: Option<u64>,
    },
    /// Ends a session and its cells.
    #[serde(rename = "session/shutdown")]
    Shutdown {
        /// The session.
        #[serde(serialize_with = "wire::serialize")]
        session_id: SessionId,
    },
    /// Asks for the cells that run or keep a result; needs [`Extension::Cells`].
    #[serde(rename = "session/listCells")]
    ListCells {
        /// The session.
        #[serde(serialize_with = "wire::serialize")]
        session_id: SessionId,
    },
    /// Asks for the stored values; needs [`Extension::Store`].
    #[serde(rename = "session/exportStore")]
    ExportStore {
        /// The session.
        #[serde(serialize_with = "wire::serialize")]
        session_id: SessionId,
    },
    /// Stores values for the cells to come; needs [`Extension::Store`].
    #[serde(rename = "session/importStore")]
    ImportStore {
        /// The session.
        #[serde(serialize_with = "wire::serialize")]
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
            | Self::ListCells { session_id }
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

fn serialize_execute<S: Serializer>(
    session_id: &SessionId,
    request: &ExecuteRequest,
    encoded_tools: &Option<EncodedTools>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_struct("Execute", 2)?;
    object.serialize_field("sessionId", &Wire(session_id))?;
    let encoded_tools = encoded_tools.as_ref();
    object.serialize_field(
        "request",
        &ExecuteBody {
            request,
            encoded_tools,
        },
    )?;
    object.end()
}

wire_names! {
    Globals, "which globals a script has: contract or web" {
        Contract = "contract",
        Web = "web",
    }
}

/// The `request` of an execute.
struct ExecuteBody<'a> {
    request: &'a ExecuteRequest,
    encoded_tools: Option<&'a EncodedTools>,
}

impl Serialize for ExecuteBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let request = self.request;
        // JSON objects need no length in advance, so the count is only nominal.
        let mut object = serializer.serialize_struct("ExecuteRequest", 6)?;
        object.serialize_field("tool_call_id", &request.exec_call_id)?;
        match self
            .encoded_tools
            .and_then(|tools| tools.of(&request.tools))
        {
            Some(encoded) => object.serialize_field("enabled_tools", encoded)?,
            None => object.serialize_field("enabled_tools", &WireList(&request.tools))?,
        }
        object.serialize_field("source", &request.source)?;
        object.serialize_field("yield_time_ms", &request.yield_time.map(milliseconds))?;
        object.serialize_field("max_output_tokens", &request.max_output_tokens)?;
        if has_limits(request) {
            object.serialize_field("limits", &Wire(&request.limits))?;
        }
        if let Some(globals) = &request.globals {
            object.serialize_field("globals", &Wire(globals))?;
        }
        if let Some(exact) = &request.exact_integers {
            object.serialize_field("exact_integers", exact)?;
        }
        object.end()
    }
}

fn has_limits(request: &ExecuteRequest) -> bool {
    request.limits != CellLimits::default()
}

impl Serialize for Wire<&WaitRequest> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let WaitRequest {
            cell_id,
            yield_time,
        } = self.0;
        let mut object = serializer.serialize_struct("WaitRequest", 2)?;
        object.serialize_field("cell_id", &Wire(cell_id))?;
        object.serialize_field("yield_time_ms", &yield_time.map(milliseconds))?;
        object.end()
    }
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

impl Serialize for Wire<&DelegateValue> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl ClientMessage {
    /// Refuses what the interface's types can hold and the wire cannot.
    pub(crate) fn check(&self) -> Result<(), InvalidValue> {
        match self {
            Self::OperationRequest { request, .. } => match request {
                OperationRequest::Execute { request, .. } => match request.max_output_tokens {
                    Some(tokens) if tokens > MAX_OUTPUT_TOKENS => {
                        Err(InvalidValue::TooManyOutputTokens(tokens))
                    }
                    _ => Ok(()),
                },
                OperationRequest::Wait { request, .. } => check_cell_id(&request.cell_id),
                OperationRequest::Terminate { cell_id, .. } => check_cell_id(cell_id),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The extensions that the message uses.
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
                    with(ExtensionSet::NONE, has_limits(request), Extension::Limits),
                    request.globals.is_some(),
                    Extension::Globals,
                ),
                request.exact_integers.is_some(),
                Extension::ExactIntegers,
            ),
            OperationRequest::ListCells { .. } => ExtensionSet::of(Extension::Cells),
            OperationRequest::ExportStore { .. } | OperationRequest::ImportStore { .. } => {
                ExtensionSet::of(Extension::Store)
            }
            _ => ExtensionSet::NONE,
        }
    }

    pub(crate) fn least_bytes(&self) -> usize {
        match self {
            Self::OperationRequest { request, .. } => match request {
                OperationRequest::Execute {
                    request,
                    encoded_tools,
                    ..
                } => {
                    let encoded = encoded_tools.as_ref();
                    let tools = match encoded.and_then(|tools| tools.of(&request.tools)) {
                        Some(encoded) => encoded.get().len(),
                        None => request
                            .tools
                            .iter()
                            .map(definition_bytes)
                            .fold(0, usize::saturating_add),
                    };
                    tools.saturating_add(request.source.len())
                }
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

/// A message that was read.
pub(crate) enum Decoded<M> {
    /// It can be acted on.
    Message(M),
    /// It is a request with a number outside its range.
    OutOfRange { id: RequestId, message: String },
}

/// A client's message as [`decode`](crate::decode) takes it: a request with a number outside its
/// range is told from what is no message.
#[derive(Deserialize)]
#[serde(try_from = "ClientFields")]
pub(crate) struct DecodedClientMessage {
    pub(crate) decoded: Decoded<ClientMessage>,
    /// The extensions whose fields were there, also those that say nothing.
    pub(crate) named: ExtensionSet,
}

impl TryFrom<ClientFields> for DecodedClientMessage {
    type Error = ShapeError;

    fn try_from(fields: ClientFields) -> Result<Self, ShapeError> {
        let request = fields.request.as_ref();
        let named = match request.and_then(|request| request.request.as_ref()) {
            Some(inner) if inner.limits.is_some() => ExtensionSet::of(Extension::Limits),
            _ => ExtensionSet::NONE,
        };
        let decoded = fields.decoded()?;
        Ok(Self { decoded, named })
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
        ListCells = "session/listCells",
        ExportStore = "session/exportStore",
        ImportStore = "session/importStore",
    }
}

wire_object! {
    OperationFields ("an operation request") {
        method: MethodTag = "method",
        session_id: Wire<SessionId> = "sessionId",
        cell_id: Wire<CellId> = "cellId",
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
                MethodTag::Shutdown | MethodTag::ListCells | MethodTag::ExportStore => {
                    &["method", "sessionId"]
                }
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
        let session_id = required(fields.session_id, "sessionId", owner)?.0;
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
                    encoded_tools: None,
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
                let cell_id = required(fields.cell_id, "cellId", owner)?.0;
                max_output_tokens.map(|max_output_tokens| OperationRequest::Terminate {
                    session_id,
                    cell_id,
                    max_output_tokens,
                })
            }
            MethodTag::Shutdown => Ok(OperationRequest::Shutdown { session_id }),
            MethodTag::ListCells => Ok(OperationRequest::ListCells { session_id }),
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
        enabled_tools: Wire<Vec<ToolDefinition>> = "enabled_tools",
        source: String = "source",
        yield_time_ms: Option<Ranged<u64>> = "yield_time_ms",
        max_output_tokens: Option<Ranged<OutputTokens>> = "max_output_tokens",
        limits: LimitsFields = "limits",
        globals: Wire<Globals> = "globals",
        exact_integers: bool = "exact_integers",
        cell_id: Wire<CellId> = "cell_id",
    }
}

impl InnerRequestFields {
    fn into_execute(self) -> Result<Result<ExecuteRequest, String>, ShapeError> {
        let owner = "the request of session/execute";
        if self.cell_id.is_some() {
            return Err(ShapeError::foreign_field("cell_id", owner));
        }
        let exec_call_id = required(self.tool_call_id, "tool_call_id", owner)?;
        let tools = required(self.enabled_tools, "enabled_tools", owner)?.0;
        let source = required(self.source, "source", owner)?;
        let request = || {
            let yield_time = in_range(self.yield_time_ms.flatten(), "yield_time_ms")?;
            let tokens = in_range(self.max_output_tokens.flatten(), "max_output_tokens")?;
            let limits = self.limits.map(LimitsFields::into_limits).transpose()?;
            Ok(ExecuteRequest {
                exec_call_id,
                tools: tools.into(),
                source,
                yield_time: yield_time.map(Duration::from_millis),
                max_output_tokens: tokens.map(|OutputTokens(tokens)| tokens),
                limits: limits.unwrap_or_default(),
                globals: self.globals.map(|Wire(globals)| globals),
                exact_integers: self.exact_integers,
            })
        };
        Ok(request())
    }

    fn into_wait(self) -> Result<Result<WaitRequest, String>, ShapeError> {
        let owner = "the request of session/wait";
        self.refuse_others(owner, &["cell_id", "yield_time_ms"])?;
        let cell_id = required(self.cell_id, "cell_id", owner)?.0;
        let yield_time = in_range(self.yield_time_ms.flatten(), "yield_time_ms");
        Ok(yield_time.map(|yield_time| WaitRequest {
            cell_id,
            yield_time: yield_time.map(Duration::from_millis),
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
struct DelegateResult(Result<DelegateValue, ToolError>);

impl TryFrom<DelegateResultFields> for DelegateResult {
    type Error = ShapeError;

    fn try_from(fields: DelegateResultFields) -> Result<Self, ShapeError> {
        let DelegateResultFields {
            status,
            value,
            message,
        } = fields;
        let (no_code, no_side_effects) = (None::<ErrorCode>, None::<Wire<SideEffects>>);
        let result = outcome::from_fields(status, value, message, no_code, no_side_effects)?;
        Ok(Self(result.map_err(|error| ToolError::new(error.message))))
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
