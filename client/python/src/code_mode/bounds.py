# SPDX-License-Identifier: Apache-2.0
"""Every bound of a session, with its unit, and the deadlines that a host has to keep.

The values are those of the project's Rust client. Nothing in this package grows without one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""Payload of one frame, in bytes; a longer one is refused before anything is allocated for it."""

MAX_CALLS = 1024
"""Requests of one session that are not fully answered; further callers wait."""

MAX_OUTGOING_BYTES = 128 * 1024 * 1024
"""Bytes of encoded frames that the host has not taken yet; further callers wait. One frame always fits."""

MAX_TOOL_CALLS = 4096
"""Tool calls and notifications at work at one time; a further one is answered with an error."""

MAX_TOOL_INPUT_BYTES = 256 * 1024 * 1024
"""Bytes of tool inputs and notifications at work at one time; one beyond is answered with an error."""

MAX_REMEMBERED_IDS = 4096
"""Delegate request ids of the host that are remembered, so that one given twice is noticed."""

MAX_KEPT_CELLS = 1024
"""Cells of a session whose final result nobody has taken; further starts are refused."""

MAX_CELL_EVENTS = 1024
"""Tool calls and notifications that wait for the iterator of a cell; past this the oldest is dropped."""

MAX_CELL_EVENT_BYTES = 16 * 1024 * 1024
"""Bytes of tool inputs and notifications that wait for the iterator of a cell; past this the oldest goes."""

MAX_REMEMBERED_LOSSES = 16
"""Lost hosts of which a session remembers the cause."""

MAX_STDERR_LINES = 20
"""Last lines of the host's standard error that an error shows."""

MAX_STDERR_LINE_BYTES = 4096
"""Bytes of one such line; the rest of a longer one is dropped."""

MAX_INPUT_DEPTH = 200
"""Levels of nesting of a tool's input; the call of a deeper one is answered with an error."""

DEFAULT_YIELD_SECONDS = 10.0
"""How long an observer waits for a cell before it gets what has come so far, in seconds."""

END_GRACE_SECONDS = 0.05
"""How far the end of a host's output and the exit of its process may be apart, in seconds."""

FIRST_RESTART_PAUSE_SECONDS = 0.1
"""The pause before the second restart in a row, in seconds; each further one doubles it."""

MAX_RESTART_PAUSE_SECONDS = 10.0
"""The longest pause between restarts, in seconds."""

STABLE_AFTER_SECONDS = 10.0
"""A host that stayed up for this long was sound: the next one starts without a pause."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a host may take for what, in seconds. Missing one ends the host."""

    startup: float = 20.0
    """From the start of its program to its greeting."""
    shutdown: float = 2.0
    """From the end of its input to its exit; then it is killed."""
    call: float = 60.0
    """For an answer, beyond any yield time. A host that is in the middle of a frame and goes on
    sending it is not overdue."""
    write: float = 30.0
    """Without taking a single byte of what is written to it."""


Globals = Literal["contract", "web"]
"""Which globals a script has: those of the contract, or `URL`, `console`, `AbortController` and their like as well.

Needs a host with the capability `code_mode/globals-v1`.
"""

GLOBALS: Final[tuple[str, ...]] = get_args(Globals)
"""All that `Globals` can be."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one cell. Each lowers the operator's bound and never raises it; None leaves it.

    Needs a host with the capability `code_mode/limits-v1`.
    """

    heap_bytes: int | None = None
    """V8 heap, in bytes."""
    external_bytes: int | None = None
    """Memory outside the V8 heap, in bytes."""
    cpu_time_ms: int | None = None
    """Time that the script itself computes, in milliseconds."""
    wall_time_ms: int | None = None
    """Time from start to end, waiting included, in milliseconds."""
    output_bytes: int | None = None
    """All output together, in bytes."""
    output_items: int | None = None
    """Output items."""
    open_tool_calls: int | None = None
    """Tool calls open at one time."""
    total_tool_calls: int | None = None
    """Tool calls over the life of the cell."""
    timers: int | None = None
    """Timers pending at one time."""
