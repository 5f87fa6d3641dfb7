# SPDX-License-Identifier: Apache-2.0
"""Code Mode: run JavaScript with tools of your own in a host process, from asyncio.

    async with Session(tools=[add]) as session:
        result = await session.exec("text(await tools.add({ a: 1, b: 2 }))")

`Session` owns the host; `Cell` is a script that runs on; the errors say what failed and whether the script
may have acted. The README has the tables of errors and bounds.
"""

from .bounds import Deadlines, Globals, Limits
from .cell import Cell
from .errors import (
    BusyObserver,
    CellFinished,
    CellLost,
    CellTerminated,
    CodeModeError,
    HostLost,
    HostNotFound,
    InvalidRequest,
    LimitError,
    MissingCell,
    Refused,
    ScriptError,
    SessionClosed,
    SideEffects,
    StartFailed,
    ToolError,
)
from .events import Ended, Event, Notification, Output, ToolCalled, Yielded
from .locate import HostCommand, find_host
from .results import Audio, CellResponse, Image, Item, Result, StateLost, Text
from .schema import InputError, schema_of
from .session import Session
from .tools import Allow, Decision, Deny, Policy, Tool, ToolCall, tool

__all__ = [
    "Allow",
    "Audio",
    "BusyObserver",
    "Cell",
    "CellFinished",
    "CellLost",
    "CellResponse",
    "CellTerminated",
    "CodeModeError",
    "Deadlines",
    "Decision",
    "Deny",
    "Ended",
    "Event",
    "Globals",
    "HostCommand",
    "HostLost",
    "HostNotFound",
    "Image",
    "InputError",
    "InvalidRequest",
    "Item",
    "LimitError",
    "Limits",
    "MissingCell",
    "Notification",
    "Output",
    "Policy",
    "Refused",
    "Result",
    "ScriptError",
    "Session",
    "SessionClosed",
    "SideEffects",
    "StartFailed",
    "StateLost",
    "Text",
    "Tool",
    "ToolCall",
    "ToolCalled",
    "ToolError",
    "Yielded",
    "find_host",
    "schema_of",
    "tool",
]
