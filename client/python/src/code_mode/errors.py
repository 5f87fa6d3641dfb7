# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, one class per cause.

Every error says in `side_effects` whether the script may already have acted: after `"none"` asking
again is safe, after `"possible"` find out first what the script has done.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from .results import CellResponse

SideEffects = Literal["none", "possible"]


class CodeModeError(Exception):
    """The base of every error of this package."""

    code: ClassVar[str] = "refused"
    """A stable name of the cause, as the protocol's capability `code_mode/errors-v1` has it."""

    def __init__(self, message: str, *, side_effects: SideEffects = "none") -> None:
        super().__init__(message)
        self.message = message
        self.side_effects: SideEffects = side_effects


class HostNotFound(CodeModeError):
    """No host program is where one was looked for."""

    code = "start-failed"


class StartFailed(CodeModeError):
    """The host program could not be started, or did not greet as a host does."""

    code = "start-failed"


class HostLost(CodeModeError):
    """The host ended, hung or broke the protocol while the operation was pending."""

    code = "runtime-lost"

    def __init__(
        self,
        cause: str,
        *,
        exit_status: int | None = None,
        signal: int | None = None,
        stderr: str = "",
        side_effects: SideEffects = "possible",
    ) -> None:
        super().__init__(f"the code-mode host was lost: {cause} (side effects: {side_effects})", side_effects=side_effects)
        self.cause = cause
        """What happened, with the last lines of the host's standard error."""
        self.exit_status = exit_status
        """The status that the process exited with, if it did so by itself."""
        self.signal = signal
        """The number of the signal that killed the process, if one did."""
        self.stderr = stderr
        """The last lines of its standard error."""

    def with_side_effects(self, side_effects: SideEffects) -> HostLost:
        """The same loss as another caller has to hear it."""
        return HostLost(
            self.cause, exit_status=self.exit_status, signal=self.signal, stderr=self.stderr, side_effects=side_effects
        )


class CellLost(CodeModeError):
    """The cell lived in a host that was lost."""

    code = "cell-lost"

    def __init__(self, cell_id: str, cause: str) -> None:
        super().__init__(f"exec cell {cell_id} was lost with its host: {cause}", side_effects="possible")
        self.cell_id = cell_id
        self.cause = cause


class MissingCell(CodeModeError):
    """The session never had this cell."""

    code = "missing-cell"

    def __init__(self, cell_id: str) -> None:
        super().__init__(f"exec cell {cell_id} not found")
        self.cell_id = cell_id


class CellFinished(CodeModeError):
    """The cell has ended and its result was handed out."""

    code = "cell-finished"

    def __init__(self, cell_id: str) -> None:
        super().__init__(
            f"exec cell {cell_id} has finished and its result was already delivered", side_effects="possible"
        )
        self.cell_id = cell_id


class BusyObserver(CodeModeError):
    """Somebody else observes the cell already."""

    code = "busy-observer"

    def __init__(self, cell_id: str) -> None:
        super().__init__(f"exec cell {cell_id} is already being observed; one observer at a time", side_effects="possible")
        self.cell_id = cell_id


class SessionClosed(CodeModeError):
    """The session is closing or closed."""

    code = "shut-down"

    def __init__(self) -> None:
        super().__init__("the session is shut down")


class InvalidRequest(CodeModeError):
    """The request cannot be carried out as it stands; nothing was sent or run."""

    code = "invalid-request"


class Refused(CodeModeError):
    """The host refused the operation for a reason of its own."""

    def __init__(self, message: str, *, host_code: str | None = None, side_effects: SideEffects = "none") -> None:
        super().__init__(message, side_effects=side_effects)
        self.host_code = host_code
        """The host's name of the cause, from hosts with `code_mode/errors-v1`."""


class LimitError(CodeModeError):
    """A bound is reached: by the script, which was ended, or by the request, which was not begun."""

    code = "limit"

    def __init__(
        self, message: str, *, limit: str, maximum: int, result: CellResponse | None = None, side_effects: SideEffects
    ) -> None:
        super().__init__(message, side_effects=side_effects)
        self.limit = limit
        """Which bound, in words, such as `output items`."""
        self.maximum = maximum
        """Its value."""
        self.result = result
        """What the script had put out until then; None when it was not begun."""


class ScriptError(CodeModeError):
    """The script failed: it threw, it could not be compiled, or it forgot a rejected promise."""

    code = "script"

    def __init__(self, error_text: str) -> None:
        super().__init__(error_text, side_effects="possible")
        self.error_text = error_text
        """All that the host says of the error."""
        text, _, hint = error_text.partition("\nHint: ")
        message, _, stack = text.partition("\n    at ")
        place = re.search(r"exec_main\.mjs:(\d+):(\d+)", text)
        name = re.match(r"(?:Unhandled rejection: )?([A-Za-z_$][\w$]*): ", message)
        self.message = message
        """The error's name and message, without its stack."""
        self.name: str | None = name[1] if name else None
        """The error's name, such as `TypeError`; None when a value was thrown that is no Error."""
        self.stack: str | None = f"    at {stack}" if stack else None
        """The stack, and for a syntax error the line with a caret."""
        self.line: int | None = int(place[1]) if place else None
        """The line in the script, from 1."""
        self.column: int | None = int(place[2]) if place else None
        """The column in the script, from 1."""
        self.hint: str | None = hint or None
        """What to do about it, where the host knows."""
        self.result: CellResponse | None = None
        """What the script had put out until then, and where it stands."""


class CellTerminated(CodeModeError):
    """The cell was terminated before its script had ended."""

    code = "terminated"

    def __init__(self, result: CellResponse) -> None:
        super().__init__(f"exec cell {result.cell_id} was terminated", side_effects="possible")
        self.result = result
        """What the script had put out until then."""


class ToolError(Exception):
    """Raise it in a tool: the script's call rejects with an Error of this message."""


_LIMIT_TEXT = re.compile(r"(?:LimitError: )?the limit of (\d+) (.+?) is reached")


def script_failure(error_text: str) -> ScriptError | LimitError:
    """The error of a cell that has failed."""
    match = _LIMIT_TEXT.match(error_text) if error_text.startswith("LimitError: ") else None
    if match:
        return LimitError(error_text, limit=match[2], maximum=int(match[1]), side_effects="possible")
    return ScriptError(error_text)


def host_refusal(
    message: str, code: str | None, side_effects: SideEffects | None, default: SideEffects, cell_id: str
) -> CodeModeError:
    """The error for an error answer of the host; `default` is what a plain V1 host leaves open."""
    effects = side_effects or default
    if code == "missing-cell":
        return MissingCell(cell_id)
    if code == "cell-finished":
        return CellFinished(cell_id)
    if code == "busy-observer":
        return BusyObserver(cell_id)
    if code == "shut-down":
        return SessionClosed()
    if code == "invalid-request":
        return InvalidRequest(message)
    match = _LIMIT_TEXT.match(message) if code and code.startswith("limit/") else None
    if match:
        return LimitError(message, limit=match[2], maximum=int(match[1]), side_effects=effects)
    return Refused(message, host_code=code, side_effects=effects)
