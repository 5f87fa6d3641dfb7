# SPDX-License-Identifier: Apache-2.0
"""Messages of the protocol V1: what the client sends, and the strict reading of what a host says.

The contract stands in the project's `protocol/README.md`. Fields that the contract does not name are
refused; the two timings that some hosts add are the only exception.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .bounds import GLOBALS, MAX_FRAME_BYTES, MAX_INPUT_DEPTH, Globals, Limits
from .errors import InvalidRequest, SideEffects, script_failure
from .results import Audio, CellResponse, Image, Item, Text

EXTENSION_LIMITS = "code_mode/limits-v1"
EXTENSION_STORE = "code_mode/store-v1"
EXTENSION_ERRORS = "code_mode/errors-v1"
EXTENSION_GLOBALS = "code_mode/globals-v1"
CAPABILITIES = (EXTENSION_LIMITS, EXTENSION_STORE, EXTENSION_ERRORS, EXTENSION_GLOBALS)

Json = Any
"""Any value that JSON can hold."""


class WireError(Exception):
    """The host said what is no message of the protocol."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error answer."""

    message: str
    code: str | None = None
    side_effects: SideEffects | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    capabilities: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rejected:
    reason: str


@dataclass(frozen=True, slots=True)
class SessionReady:
    session_id: str


@dataclass(frozen=True, slots=True)
class Started:
    cell_id: str


@dataclass(frozen=True, slots=True)
class Observed:
    response: CellResponse
    missing: bool


@dataclass(frozen=True, slots=True)
class SessionEnded:
    session_id: str


@dataclass(frozen=True, slots=True)
class StoreExported:
    values: dict[str, Json]


@dataclass(frozen=True, slots=True)
class StoreImported:
    pass


Answer = SessionReady | Started | Observed | SessionEnded | StoreExported | StoreImported | Failure


@dataclass(frozen=True, slots=True)
class Response:
    id: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class InitialResponse:
    id: int
    answer: CellResponse | Failure


@dataclass(frozen=True, slots=True)
class ToolInvoke:
    id: int
    session_id: str
    cell_id: str
    call_id: str
    name: str
    namespace: str | None
    kind: str
    input: Json
    too_deep: bool = False


@dataclass(frozen=True, slots=True)
class NotificationSend:
    id: int
    session_id: str
    cell_id: str
    call_id: str
    text: str


@dataclass(frozen=True, slots=True)
class DelegateCancel:
    id: int


@dataclass(frozen=True, slots=True)
class CellClosed:
    session_id: str
    cell_id: str


HostMessage = (
    Ready | Rejected | Response | InitialResponse | ToolInvoke | NotificationSend | DelegateCancel | CellClosed
)

# ----------------------------------------------------------------------------------------------
# Sending


def frame(message: Mapping[str, Json]) -> bytes:
    """Encodes one message with its length in front.

    Raises InvalidRequest when it is larger than a frame or JSON cannot hold a value of it.
    """
    try:
        text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"JSON cannot hold it: {error}") from error
    try:
        payload = text.encode()
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8; as an escape it crosses, and is read as U+FFFD.
        payload = json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
    if len(payload) > MAX_FRAME_BYTES:
        raise InvalidRequest(f"the frame of {len(payload)} bytes is larger than {MAX_FRAME_BYTES} bytes")
    return len(payload).to_bytes(4, "little") + payload


def hello() -> dict[str, Json]:
    """The first message of a client."""
    return {
        "type": "connection/hello",
        "supportedVersions": [1],
        "requiredCapabilities": [],
        "optionalCapabilities": list(CAPABILITIES),
    }


def request(id: int, method: str, session_id: str, **fields: Json) -> dict[str, Json]:
    """An operation request."""
    return {"type": "operation/request", "id": id, "request": {"method": method, "sessionId": session_id, **fields}}


def execute_fields(
    call_id: str,
    tools: Sequence[Mapping[str, Json]],
    source: str,
    yield_time_ms: int,
    max_output_tokens: int | None,
    limits: Limits | None,
    globals: Globals | None,
) -> dict[str, Json]:
    """The inner request of an execute."""
    fields: dict[str, Json] = {
        "tool_call_id": call_id,
        "enabled_tools": list(tools),
        "source": source,
        "yield_time_ms": yield_time_ms,
        "max_output_tokens": max_output_tokens,
    }
    set_limits = {} if limits is None else {name: getattr(limits, name) for name in Limits.__dataclass_fields__}
    set_limits = {name: value for name, value in set_limits.items() if value is not None}
    if set_limits:
        fields["limits"] = set_limits
    if globals is not None:
        if globals not in GLOBALS:
            raise InvalidRequest(f"there are no globals {globals!r}, only {' and '.join(GLOBALS)}")
        fields["globals"] = globals
    return fields


def cancel(id: int) -> dict[str, Json]:
    """A hint that the answer of a request is no longer wanted."""
    return {"type": "operation/cancel", "id": id}


def tool_result(id: int, result: Json) -> dict[str, Json]:
    """The answer of a tool."""
    return _delegate_response(id, {"status": "ok", "value": {"type": "tool/result", "result": result}})


def notification_delivered(id: int) -> dict[str, Json]:
    """The answer to a notification."""
    return _delegate_response(id, {"status": "ok", "value": {"type": "notification/delivered"}})


def delegate_error(id: int, message: str) -> dict[str, Json]:
    """The answer of a tool that has failed."""
    return _delegate_response(id, {"status": "error", "message": message})


def _delegate_response(id: int, result: Json) -> dict[str, Json]:
    return {"type": "delegate/response", "id": id, "result": result}


# ----------------------------------------------------------------------------------------------
# Reading


def decode(payload: bytes, capabilities: frozenset[str]) -> HostMessage:
    """Reads one message of a host. Raises WireError for anything else."""
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError(f"it is no UTF-8: {error}") from error
    too_deep = False
    try:
        value = _parse(text)
    except RecursionError:
        # A script may nest a tool's input as deep as it likes; only that call may fail by it.
        text, too_deep = _without_depth(text), True
        value = _parse(text)
    if _SURROGATE.search(text):
        value = _well_formed(value)
    return _message(value, capabilities, too_deep)


def _parse(text: str) -> Json:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise WireError(f"it is no JSON: {error}") from error


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")


_SURROGATE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}|\\u[dD][c-fC-F][0-9a-fA-F]{2}")


def _well_formed(value: Json) -> Json:
    """The value with U+FFFD for every lone surrogate."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_well_formed(item) for item in value]
    if isinstance(value, dict):
        return {_well_formed(key): _well_formed(item) for key, item in value.items()}
    return value


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def _without_depth(text: str) -> str:
    """The text with null for what is nested deeper than MAX_INPUT_DEPTH."""
    kept: list[str] = []
    depth = begin = 0
    for token in _TOKEN.finditer(text):
        character = token[0]
        if character in "[{":
            depth += 1
            if depth == MAX_INPUT_DEPTH:
                kept.append(text[begin : token.start()])
                kept.append("null")
        elif character in "]}":
            depth -= 1
            if depth == MAX_INPUT_DEPTH - 1:
                begin = token.end()
    kept.append(text[begin:])
    return "".join(kept)


class _Object:
    """A JSON object whose every field has to be asked for."""

    def __init__(self, value: Json, what: str) -> None:
        if not isinstance(value, dict):
            raise WireError(f"{what} is no object")
        self._fields = dict(value)
        self._what = what

    def take(self, name: str) -> Json:
        if name not in self._fields:
            raise WireError(f"{self._what} lacks {name}")
        return self._fields.pop(name)

    def maybe(self, name: str) -> Json:
        return self._fields.pop(name, None)

    def has(self, name: str) -> bool:
        return name in self._fields

    def string(self, name: str) -> str:
        return self._string(name, self.take(name))

    def non_empty(self, name: str) -> str:
        value = self.string(name)
        if not value:
            raise WireError(f"{name} of {self._what} is empty")
        return value

    def maybe_string(self, name: str) -> str | None:
        value = self.maybe(name)
        return None if value is None else self._string(name, value)

    def integer(self, name: str) -> int:
        value = self.take(name)
        if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
            raise WireError(f"{name} of {self._what} is no 64-bit integer")
        return value

    def maybe_unsigned(self, name: str) -> int | None:
        value = self.maybe(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**64:
            raise WireError(f"{name} of {self._what} is no unsigned integer")
        return value

    def done(self) -> None:
        if self._fields:
            raise WireError(f"{self._what} has the unknown field {next(iter(self._fields))}")

    def _string(self, name: str, value: Json) -> str:
        if not isinstance(value, str):
            raise WireError(f"{name} of {self._what} is no string")
        return value


def _message(value: Json, capabilities: frozenset[str], too_deep: bool) -> HostMessage:
    fields = _Object(value, "the message")
    tag = fields.string("type")
    message: HostMessage
    if tag == "operation/response":
        message = Response(fields.integer("id"), _answer(fields.take("result"), capabilities))
    elif tag == "execute/initialResponse":
        message = InitialResponse(fields.integer("id"), _initial(fields.take("result"), capabilities))
    elif tag == "delegate/request":
        message = _delegate_request(fields, too_deep)
    elif tag == "delegate/cancel":
        message = DelegateCancel(fields.integer("id"))
    elif tag == "cell/closed":
        message = CellClosed(fields.non_empty("sessionId"), fields.non_empty("cellId"))
    elif tag == "connection/ready":
        message = _ready(fields)
    elif tag == "connection/rejected":
        message = Rejected(_reason(fields.take("reason")))
    else:
        raise WireError(f"{tag!r} is no type of message")
    fields.done()
    return message


def _ready(fields: _Object) -> Ready:
    version = fields.integer("selectedVersion")
    if version != 1:
        raise WireError(f"the host selected protocol version {version}, which was not offered")
    names = fields.take("capabilities")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise WireError("capabilities is no list of strings")
    for name in names:
        if name not in CAPABILITIES:
            raise WireError(f"the host named the capability {name!r}, which was not offered")
    if len(set(names)) != len(names):
        raise WireError("a capability comes twice")
    return Ready(frozenset(names))


def _reason(value: Json) -> str:
    fields = _Object(value, "the reason of a rejection")
    tag = fields.string("type")
    if tag == "noCompatibleVersion":
        text = f"no protocol version in common: the host speaks {fields.take('supportedVersions')}"
    elif tag == "missingRequiredCapability":
        text = f"the host lacks the required capability {fields.string('capability')!r}"
    elif tag == "invalidHello":
        text = f"the hello is invalid: {fields.string('message')}"
    else:
        raise WireError(f"{tag!r} is no reason of a rejection")
    fields.done()
    return text


def _result(value: Json, capabilities: frozenset[str]) -> Failure | Json:
    """The value of a result that is ok, or its failure."""
    fields = _Object(value, "the result")
    status = fields.string("status")
    if status == "ok":
        inner = fields.take("value")
        fields.done()
        return inner
    if status != "error":
        raise WireError(f"{status!r} is no status")
    message, code, effects = fields.string("message"), None, None
    if EXTENSION_ERRORS in capabilities and (fields.has("code") or fields.has("side_effects")):
        code, effects = fields.string("code"), fields.string("side_effects")
        if effects not in ("none", "possible"):
            raise WireError(f"{effects!r} is no statement of side effects")
    fields.done()
    return Failure(message, code, "none" if effects == "none" else "possible" if effects else None)


def _answer(value: Json, capabilities: frozenset[str]) -> Answer:
    inner = _result(value, capabilities)
    if isinstance(inner, Failure):
        return inner
    fields = _Object(inner, "the value")
    tag = fields.string("type")
    answer: Answer
    if tag == "session/ready":
        answer = SessionReady(fields.non_empty("sessionId"))
    elif tag == "execution/started":
        answer = Started(fields.non_empty("cellId"))
    elif tag == "wait/completed":
        outcome = _Object(fields.take("outcome"), "the outcome")
        missing = outcome.has("MissingCell")
        answer = Observed(_cell_response(outcome.take("MissingCell" if missing else "LiveCell")), missing)
        outcome.done()
    elif tag == "session/closed":
        answer = SessionEnded(fields.non_empty("sessionId"))
    elif tag == "store/exported" and EXTENSION_STORE in capabilities:
        values = fields.take("values")
        if not isinstance(values, dict):
            raise WireError("values is no object")
        answer = StoreExported(values)
    elif tag == "store/imported" and EXTENSION_STORE in capabilities:
        answer = StoreImported()
    else:
        raise WireError(f"{tag!r} is no type of answer")
    fields.done()
    return answer


def _initial(value: Json, capabilities: frozenset[str]) -> CellResponse | Failure:
    inner = _result(value, capabilities)
    return inner if isinstance(inner, Failure) else _cell_response(inner)


def _cell_response(value: Json) -> CellResponse:
    outer = _Object(value, "the response")
    for name in ("Result", "Yielded", "Terminated"):
        if outer.has(name):
            break
    else:
        raise WireError("the response is neither Result, Yielded nor Terminated")
    fields = _Object(outer.take(name), name)
    outer.done()
    cell_id = fields.non_empty("cell_id")
    items = fields.take("content_items")
    if not isinstance(items, list):
        raise WireError("content_items is no list")
    error_text = fields.maybe_string("error_text") if name == "Result" else None
    duration = fields.maybe_unsigned("code_mode_host_duration_ns")
    buffered = fields.maybe_unsigned("result_buffered_for_ns")
    fields.done()
    error = None if error_text is None else script_failure(error_text)
    response = CellResponse(
        cell_id=cell_id,
        items=tuple(_item(item) for item in items),
        host_duration_ns=duration,
        result_buffered_ns=buffered,
        status="completed" if name == "Result" else "yielded" if name == "Yielded" else "terminated",
        error=error,
    )
    if error is not None:
        error.result = response
    return response


def _item(value: Json) -> Item:
    fields = _Object(value, "a content item")
    tag = fields.string("type")
    item: Item
    if tag == "input_text":
        item = Text(fields.string("text"))
    elif tag == "input_image":
        url = fields.string("image_url")
        detail = fields.take("detail") if fields.has("detail") else None
        if fields.has("detail") or detail not in (None, "auto", "low", "high", "original"):
            raise WireError(f"{detail!r} is no image detail")
        item = Image(url, detail)
    elif tag == "input_audio":
        item = Audio(fields.string("audio_url"))
    else:
        raise WireError(f"{tag!r} is no type of content item")
    fields.done()
    return item


def _delegate_request(fields: _Object, too_deep: bool) -> ToolInvoke | NotificationSend:
    id, session_id = fields.integer("id"), fields.non_empty("sessionId")
    inner = _Object(fields.take("request"), "the delegate request")
    tag = inner.string("type")
    message: ToolInvoke | NotificationSend
    if tag == "tool/invoke":
        call = _Object(inner.take("invocation"), "the invocation")
        name = _Object(call.take("tool_name"), "the tool's name")
        message = ToolInvoke(
            id=id,
            session_id=session_id,
            cell_id=call.non_empty("cell_id"),
            call_id=call.string("runtime_tool_call_id"),
            name=name.string("name"),
            namespace=name.maybe_string("namespace"),
            kind=call.string("tool_kind"),
            input=call.maybe("input"),
            too_deep=too_deep,
        )
        if message.kind not in ("function", "freeform"):
            raise WireError(f"{message.kind!r} is no kind of tool")
        name.done()
        call.done()
    elif tag == "notification/send":
        message = NotificationSend(
            id, session_id, inner.non_empty("cellId"), inner.string("callId"), inner.string("text")
        )
    else:
        raise WireError(f"{tag!r} is no type of delegate request")
    inner.done()
    return message


class FrameReader:
    """Cuts the bytes of a host into payloads. Holds at most one frame that is not whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._length: int | None = None

    @property
    def is_within_frame(self) -> bool:
        """Whether the end of input would be in the middle of a frame."""
        return self._length is not None or bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Takes bytes in and gives the payloads that are whole. Raises WireError for a length over the cap."""
        self._buffer += data
        whole: list[bytes] = []
        position = 0
        while True:
            if self._length is None:
                if len(self._buffer) - position < 4:
                    break
                length = int.from_bytes(self._buffer[position : position + 4], "little")
                if length > MAX_FRAME_BYTES:
                    raise WireError(f"a frame of {length} bytes is larger than {MAX_FRAME_BYTES} bytes")
                self._length = length
                position += 4
            if len(self._buffer) - position < self._length:
                break
            whole.append(bytes(self._buffer[position : position + self._length]))
            position += self._length
            self._length = None
        del self._buffer[:position]
        return whole
