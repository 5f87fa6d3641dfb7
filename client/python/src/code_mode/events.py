# SPDX-License-Identifier: Apache-2.0
"""What the iterator of a cell gives."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import LimitError, ScriptError
from .results import Item, Status
from .tools import ToolCall


@dataclass(frozen=True, slots=True)
class Notification:
    """A text that the script sent with `notify`."""

    cell_id: str
    exec_call_id: str
    """The caller's own id of the exec that it belongs to."""
    text: str


@dataclass(frozen=True, slots=True)
class Output:
    """Output since the last such event."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Yielded:
    """The script runs on: it has called `yield_control`, or the yield time has passed."""


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """The script has called a tool. The policy may still refuse it."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class Ended:
    """The cell has ended; nothing follows."""

    status: Status
    """`completed` or `terminated`."""
    error: ScriptError | LimitError | None
    """Why the script failed, if it did."""


Event = Output | Yielded | Notification | ToolCalled | Ended
