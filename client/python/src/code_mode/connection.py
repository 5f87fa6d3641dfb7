# SPDX-License-Identifier: Apache-2.0
"""One connection to one host, which serves one session.

Fail-stop: the first failure is the last. Every pending call is answered with its cause and with whether
the script may have acted, tools at work are cancelled, the child is killed and reaped. Nothing is repaired
in place; whoever needs a host starts a fresh one. Everything here runs in the event loop of its session.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from . import wire
from .bounds import (
    END_GRACE_SECONDS,
    MAX_CALLS,
    MAX_OUTGOING_BYTES,
    MAX_REMEMBERED_IDS,
    MAX_TOOL_CALLS,
    MAX_TOOL_INPUT_BYTES,
    Deadlines,
)
from .errors import CellFinished, HostLost, InvalidRequest, SideEffects, StartFailed, host_refusal
from .gate import Gate
from .process import READ_BYTES, Exit, HostProcess
from .results import CellResponse
from .wire import Json

SESSION_ID = "session"
"""The session on the wire; each connection has one."""

ABOUT_A_CELL = frozenset({"initial", "session/wait", "session/terminate", "session/shutdown"})
"""What is asked about scripts that were started before, so that they may have acted whatever becomes of it."""

NOBODY_WAITS = "nobody waits for this cell any more"
"""What a script hears whose cell has no owner."""


class CellSink(Protocol):
    """What a connection tells a cell of."""

    host_id: str
    outer_id: str
    abandoned: bool
    first: asyncio.Future[CellResponse] | None
    """The first response, from the moment that the cell is known."""

    def asked(self, message: wire.ToolInvoke | wire.NotificationSend, size: int) -> None:
        """The script calls a tool or sends a notification of `size` bytes."""

    def received(self, response: CellResponse) -> None:
        """An observation was answered."""

    def closed(self) -> None:
        """Nothing more will come from the host."""

    def lost(self, failure: HostLost) -> None:
        """The host is gone."""


class Owner(Protocol):
    """Who does what the host asks for."""

    def call_tool(self, cell: Any, call: wire.ToolInvoke) -> Coroutine[Any, Any, Json]:
        """Answers a tool call."""

    def notify(self, cell: Any, notification: wire.NotificationSend) -> Coroutine[Any, Any, None]:
        """Takes a notification."""


@dataclass(slots=True)
class _Pending:
    """A request that is not fully answered. `kind` is its method, or `initial` for a cell's first response."""

    kind: str
    future: asyncio.Future[Any]
    due: float
    cell: CellSink | None = None
    make_cell: Callable[[str], CellSink] | None = None
    yield_seconds: float = 0.0
    has_slot: bool = False
    abandoned: bool = False


@dataclass(slots=True)
class _Work:
    """A tool call or notification at work."""

    task: asyncio.Task[None]
    cell: CellSink


class Connection:
    """A connection; `start` makes one."""

    def __init__(self, owner: Owner, deadlines: Deadlines) -> None:
        self._loop = asyncio.get_running_loop()
        self._owner = owner
        self._deadlines = deadlines
        self._reader = wire.FrameReader()
        self._outbox: deque[tuple[memoryview, int | None]] = deque()
        self._outgoing = Gate(MAX_OUTGOING_BYTES)
        self._calls = Gate(MAX_CALLS)
        self._pending: dict[int, _Pending] = {}
        self._cells: dict[str, CellSink] = {}
        self._given_cells = GivenNumbers()
        self._work: dict[int, _Work] = {}
        self._tasks: dict[asyncio.Task[None], int] = {}
        self._task_bytes = 0
        self._recent: deque[int] = deque()
        self._recent_set: set[int] = set()
        self._next_id = 1
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._ready.add_done_callback(_look_at)
        self._check: asyncio.TimerHandle | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._last_read = self._last_write = self._loop.time()
        self._is_reading = False
        self._is_writing = False
        self._output_ended = False
        self._end_reason: str | None = None
        self._exit: Exit | None = None
        self._closing = False
        self.capabilities: frozenset[str] = frozenset()
        self.failure: HostLost | None = None
        self.ready_at: float | None = None
        self._process: HostProcess

    @classmethod
    async def start(
        cls,
        owner: Owner,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        working_folder: str | None,
        deadlines: Deadlines,
    ) -> Connection:
        """Starts a host, greets it and opens the session. Raises StartFailed."""
        self = cls(owner, deadlines)
        begun = self._loop.time()
        self._process = HostProcess(
            command, environment=environment, working_folder=working_folder, on_exit=self._has_exited
        )
        try:
            self._resume_reading()
            self._send(wire.frame(wire.hello()), None)
            self._check = self._loop.call_at(begun + deadlines.startup, self._startup_overdue)
            await self._ready
            self.ready_at = self._loop.time()
            await self._call("session/open")
        except BaseException as error:
            await self._end("the client gave up its start")
            if isinstance(error, HostLost):
                raise StartFailed(f"the code-mode host could not be started: {error.cause}") from error
            if isinstance(error, Exception) and not isinstance(error, StartFailed):
                raise StartFailed(f"the code-mode host could not be started: {error}") from error
            raise
        return self

    @property
    def process_id(self) -> int:
        """The process id of the program that was started."""
        return self._process.pid

    # ------------------------------------------------------------------------------------------
    # Calls

    async def execute(
        self, fields: Mapping[str, Json], yield_seconds: float, make_cell: Callable[[str], CellSink]
    ) -> CellSink:
        """Starts a cell; `make_cell` is called with its id before anything else about it is heard."""
        id, pending = await self._begin(
            "session/execute", {"request": dict(fields)}, make_cell=make_cell, yield_seconds=yield_seconds
        )
        try:
            cell: CellSink = await asyncio.shield(pending.future)
        except asyncio.CancelledError:
            if not pending.future.done():
                pending.abandoned = True
                self._send(wire.frame(wire.cancel(id)), None)
            elif not pending.future.cancelled() and pending.future.exception() is None:
                self.abandon(pending.future.result())
            raise
        return cell

    async def observe(self, cell: CellSink, yield_seconds: float) -> asyncio.Future[CellResponse]:
        """Begins a wait; its answer is the future's, and is told to the cell as well."""
        request = {"cell_id": cell.host_id, "yield_time_ms": milliseconds(yield_seconds)}
        _, pending = await self._begin(
            "session/wait", {"request": request}, cell=cell, yield_seconds=yield_seconds
        )
        return pending.future

    async def terminate(self, cell: CellSink) -> CellResponse:
        """Ends a cell. Raises CellFinished when there was nothing left to end."""
        _, pending = await self._begin("session/terminate", {"cellId": cell.host_id}, cell=cell)
        response: CellResponse = await asyncio.shield(pending.future)
        return response

    async def export_store(self) -> dict[str, Json]:
        """The stored values."""
        self._require(wire.EXTENSION_STORE)
        values: dict[str, Json] = await self._call("session/exportStore")
        return values

    async def import_store(self, values: Mapping[str, Json]) -> None:
        """Stores values for the cells to come."""
        self._require(wire.EXTENSION_STORE)
        await self._call("session/importStore", {"values": dict(values)})

    def require_limits(self) -> None:
        """Raises InvalidRequest when the host knows no limits of a cell."""
        self._require(wire.EXTENSION_LIMITS)

    def require_globals(self) -> None:
        """Raises InvalidRequest when the host has no choice of globals."""
        self._require(wire.EXTENSION_GLOBALS)

    def abandon(self, cell: CellSink) -> None:
        """Ends a cell that nobody wants, without waiting."""
        if cell.abandoned or self.failure is not None:
            return
        cell.abandoned = True
        for id, work in [(id, work) for id, work in self._work.items() if work.cell is cell]:
            del self._work[id]
            work.task.cancel()
            self._refuse(id, NOBODY_WAITS)
        if cell.host_id in self._cells:
            method = "session/terminate"
            self._enter(*self._encode(method, {"cellId": cell.host_id}), method, cell=cell)

    async def close(self) -> None:
        """Shuts the session down, ends the host and waits until it was reaped."""
        if self.failure is None and not self._closing:
            self._closing = True
            try:
                pending = self._enter(*self._encode("session/shutdown", {}), "session/shutdown")
                await asyncio.wait([pending.future], timeout=self._deadlines.shutdown)
            finally:
                await self._end("the client closed the session")
        else:
            await self._end("the client closed the session")

    def _require(self, capability: str) -> None:
        if capability not in self.capabilities:
            raise InvalidRequest(
                f"the host lacks the capability {capability}, which this request needs; "
                "use a host that has it, or leave out what needs it"
            )

    async def _call(self, method: str, fields: Mapping[str, Json] | None = None) -> Any:
        _, pending = await self._begin(method, fields or {})
        return await asyncio.shield(pending.future)

    async def _begin(
        self,
        method: str,
        fields: Mapping[str, Json],
        *,
        cell: CellSink | None = None,
        make_cell: Callable[[str], CellSink] | None = None,
        yield_seconds: float = 0.0,
    ) -> tuple[int, _Pending]:
        """Sends a request as soon as the bounds allow. What ends something never waits behind what it would end."""
        has_slot = method not in ("session/terminate", "session/shutdown")
        if has_slot:
            await self._calls.enter()
        try:
            id, frame = self._encode(method, fields)
            await self._outgoing.enter(len(frame))
            if self.failure is not None:
                raise self.failure.with_side_effects("possible" if method in ABOUT_A_CELL else "none")
        except BaseException:
            if has_slot:
                self._calls.leave()
            raise
        pending = self._enter(
            id, frame, method, cell=cell, make_cell=make_cell, yield_seconds=yield_seconds, has_room=True
        )
        pending.has_slot = has_slot
        return id, pending

    def _encode(self, method: str, fields: Mapping[str, Json]) -> tuple[int, bytes]:
        id = self._next_id
        frame = wire.frame(wire.request(id, method, SESSION_ID, **fields))
        self._next_id += 1
        return id, frame

    def _enter(
        self,
        id: int,
        frame: bytes,
        method: str,
        *,
        cell: CellSink | None = None,
        make_cell: Callable[[str], CellSink] | None = None,
        yield_seconds: float = 0.0,
        has_room: bool = False,
    ) -> _Pending:
        future: asyncio.Future[Any] = self._loop.create_future()
        future.add_done_callback(_look_at)
        seconds = self._deadlines.call + (yield_seconds if method == "session/wait" else 0.0)
        pending = _Pending(method, future, self._loop.time() + seconds, cell, make_cell, yield_seconds)
        self._pending[id] = pending
        self._send(frame, id, has_room=has_room)
        self._schedule_check(pending.due)
        return pending

    def _leave(self, id: int, *, keeps_slot: bool = False) -> _Pending:
        pending = self._pending.pop(id, None)
        if pending is None:
            raise wire.WireError(f"an answer to request {id}, which is not in flight")
        if pending.has_slot and not keeps_slot:
            self._calls.leave()
        return pending

    # ------------------------------------------------------------------------------------------
    # Writing

    def _send(self, frame: bytes, id: int | None, *, has_room: bool = False) -> None:
        """Queues a frame and begins to write it. `has_room` says that it has entered the gate already."""
        if self.failure is not None or self._process.exit is not None:
            return
        if not self._outbox:
            self._last_write = self._loop.time()
        if not has_room:
            self._outgoing.force(len(frame))
        self._outbox.append((memoryview(frame), id))
        if not self._is_writing:
            self._write()

    def _write(self) -> None:
        while self._outbox:
            rest, id = self._outbox[0]
            try:
                count = os.write(self._process.stdin_fd, rest)
            except BlockingIOError:
                if not self._is_writing:
                    self._is_writing = True
                    self._loop.add_writer(self._process.stdin_fd, self._write)
                    self._schedule_check(self._last_write + self._deadlines.write)
                return
            except OSError as error:
                # A host that dies closes its input; its exit is the better explanation.
                self._stop_writing()
                self._begin_end(f"the host's input could not be written: {error.strerror}")
                return
            self._last_write = self._loop.time()
            self._outgoing.leave(count)
            if count < len(rest):
                self._outbox[0] = (rest[count:], id)
            else:
                self._outbox.popleft()
        self._stop_writing()
        if not self._is_reading and self.failure is None and not self._output_ended:
            self._resume_reading()

    def _stop_writing(self) -> None:
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(self._process.stdin_fd)

    # ------------------------------------------------------------------------------------------
    # Reading

    def _resume_reading(self) -> None:
        self._is_reading = True
        self._loop.add_reader(self._process.stdout_fd, self._read)

    def _stop_reading(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._process.stdout_fd)

    def _read(self) -> bool:
        """Takes in what has come; whether there may be more."""
        try:
            data = os.read(self._process.stdout_fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            self._fail(f"the host's output could not be read: {error.strerror}")
            return False
        if not data:
            self._stop_reading()
            self._output_ended = True
            within = self._reader.is_within_frame
            self._begin_end("the host's output broke off within a message" if within else "the host closed its output")
            return False
        if self.failure is not None:
            return True
        self._last_read = self._loop.time()
        try:
            for payload in self._reader.feed(data):
                self._handle(wire.decode(payload, self.capabilities), len(payload))
                if self.failure is not None:
                    return True
        except wire.WireError as error:
            self._fail(f"the host broke the protocol: {error}")
        if self._outgoing.is_full:
            # What the host is asked to take in has to go first.
            self._stop_reading()
        return True

    def _handle(self, message: wire.HostMessage, size: int) -> None:
        if not self._ready.done():
            if isinstance(message, wire.Ready):
                self.capabilities = message.capabilities
                self._cancel_check()
                self._ready.set_result(None)
            elif isinstance(message, wire.Rejected):
                self._fail(f"the host refused the connection: {message.reason}")
            else:
                raise wire.WireError("a message before its greeting")
        elif isinstance(message, wire.Response):
            self._answered(message)
        elif isinstance(message, wire.InitialResponse):
            pending = self._leave(message.id)
            if pending.kind != "initial":
                raise wire.WireError(f"an initial response to request {message.id}, a {pending.kind}")
            self._observed(pending, message.answer)
        elif isinstance(message, wire.ToolInvoke | wire.NotificationSend):
            self._asked(message, size)
        elif isinstance(message, wire.DelegateCancel):
            work = self._work.pop(message.id, None)
            if work is not None:
                work.task.cancel()
            elif message.id not in self._recent_set:
                raise wire.WireError(f"delegate/cancel for {message.id}, which was never asked")
        elif isinstance(message, wire.CellClosed):
            self._cell_closed(message)
        else:
            raise wire.WireError("a second greeting")

    def _answered(self, message: wire.Response) -> None:
        answer = message.answer
        # The first response of the cell holds the slot on.
        pending = self._leave(message.id, keeps_slot=isinstance(answer, wire.Started))
        method = pending.kind
        if method == "initial":
            raise wire.WireError(f"a second response to request {message.id}")
        if method == "session/execute" and isinstance(answer, wire.Started):
            self._started(message.id, pending, answer.cell_id)
        elif method in ("session/wait", "session/terminate") and isinstance(answer, wire.Observed):
            assert pending.cell is not None
            if answer.missing:
                self._reject(pending, CellFinished(pending.cell.outer_id))
            else:
                self._observed(pending, answer.response)
        elif isinstance(answer, wire.Failure):
            if method in ("session/wait", "session/terminate"):
                self._observed(pending, answer)
            else:
                default: SideEffects = "possible" if method == "session/shutdown" else "none"
                self._reject(
                    pending, host_refusal(answer.message, answer.code, answer.side_effects, default, "")
                )
        elif method == "session/open" and isinstance(answer, wire.SessionReady):
            self._same_session(answer.session_id)
            _resolve(pending, None)
        elif method == "session/shutdown" and isinstance(answer, wire.SessionEnded):
            self._same_session(answer.session_id)
            _resolve(pending, None)
        elif method == "session/exportStore" and isinstance(answer, wire.StoreExported):
            _resolve(pending, answer.values)
        elif method == "session/importStore" and isinstance(answer, wire.StoreImported):
            _resolve(pending, None)
        else:
            raise wire.WireError(f"a response of the wrong kind to {method}")

    def _started(self, id: int, execute: _Pending, cell_id: str) -> None:
        assert execute.make_cell is not None
        if not is_number(cell_id):
            raise wire.WireError(f"the cell id {cell_id!r}, which is no number")
        if not self._given_cells.add(int(cell_id)):
            raise wire.WireError(f"the cell id {cell_id} twice")
        cell = execute.make_cell(cell_id)
        self._cells[cell_id] = cell
        future: asyncio.Future[Any] = self._loop.create_future()
        future.add_done_callback(_look_at)
        due = self._loop.time() + self._deadlines.call + execute.yield_seconds
        self._pending[id] = _Pending("initial", future, due, cell, has_slot=execute.has_slot)
        self._schedule_check(due)
        cell.first = future
        if execute.abandoned:
            self.abandon(cell)
        _resolve(execute, cell)

    def _observed(self, pending: _Pending, answer: CellResponse | wire.Failure) -> None:
        cell = pending.cell
        assert cell is not None
        if isinstance(answer, wire.Failure):
            error = host_refusal(answer.message, answer.code, answer.side_effects, "possible", cell.outer_id)
            self._reject(pending, error)
            return
        if answer.cell_id != cell.host_id:
            raise wire.WireError(f"a response about cell {answer.cell_id} to a request about cell {cell.host_id}")
        _resolve(pending, answer)
        if pending.kind != "session/terminate":
            cell.received(answer)

    def _reject(self, pending: _Pending, error: BaseException) -> None:
        if not pending.future.done():
            pending.future.set_exception(error)

    def _same_session(self, session_id: str) -> None:
        if session_id != SESSION_ID:
            raise wire.WireError(f"an answer about session {session_id}, which was not asked for")

    def _cell_closed(self, message: wire.CellClosed) -> None:
        cell = self._cells.get(message.cell_id)
        if message.session_id != SESSION_ID or cell is None:
            raise wire.WireError(f"cell/closed for cell {message.cell_id}, which does not live")
        if any(pending.kind == "initial" and pending.cell is cell for pending in self._pending.values()):
            raise wire.WireError(f"cell/closed before the initial response of cell {message.cell_id}")
        if any(work.cell is cell for work in self._work.values()):
            raise wire.WireError(f"cell/closed while calls of cell {message.cell_id} are open")
        del self._cells[message.cell_id]
        cell.closed()

    # ------------------------------------------------------------------------------------------
    # What the host asks for

    def _asked(self, message: wire.ToolInvoke | wire.NotificationSend, size: int) -> None:
        cell = self._cells.get(message.cell_id)
        if message.session_id != SESSION_ID or cell is None:
            raise wire.WireError(f"a delegate request for cell {message.cell_id}, which does not live")
        if message.id in self._recent_set or message.id in self._work:
            raise wire.WireError(f"the delegate request id {message.id} twice")
        self._recent.append(message.id)
        self._recent_set.add(message.id)
        if len(self._recent) > MAX_REMEMBERED_IDS:
            self._recent_set.discard(self._recent.popleft())
        if cell.abandoned:
            self._refuse(message.id, NOBODY_WAITS)
        elif len(self._tasks) >= MAX_TOOL_CALLS:
            self._refuse(message.id, f"the client's limit of {MAX_TOOL_CALLS} open tool calls is reached")
        elif self._tasks and self._task_bytes + size > MAX_TOOL_INPUT_BYTES:
            self._refuse(message.id, f"the client's limit of {MAX_TOOL_INPUT_BYTES} bytes of tool inputs is reached")
        else:
            cell.asked(message, size)
            task = self._loop.create_task(self._serve(message, cell))
            self._work[message.id] = _Work(task, cell)
            self._tasks[task] = size
            self._task_bytes += size
            task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._task_bytes -= self._tasks.pop(task)

    async def _serve(self, message: wire.ToolInvoke | wire.NotificationSend, cell: CellSink) -> None:
        answer: dict[str, Json]
        try:
            if isinstance(message, wire.ToolInvoke):
                value = await self._owner.call_tool(cell, message)
                answer = wire.tool_result(message.id, value)
            else:
                await self._owner.notify(cell, message)
                answer = wire.notification_delivered(message.id)
        except asyncio.CancelledError:
            if message.id not in self._work:
                raise
            # The tool cancelled itself; its caller waits for an answer.
            answer = wire.delegate_error(message.id, "the tool was cancelled")
        except Exception as error:
            answer = wire.delegate_error(message.id, error_message(error))
        try:
            frame = wire.frame(answer)
        except InvalidRequest as error:
            frame = wire.frame(wire.delegate_error(message.id, f"the tool's result cannot be sent: {error.message}"))
        await self._outgoing.enter(len(frame))
        if self._work.pop(message.id, None) is not None:
            self._send(frame, None, has_room=True)
        else:
            self._outgoing.leave(len(frame))

    def _refuse(self, id: int, reason: str) -> None:
        self._send(wire.frame(wire.delegate_error(id, reason)), None)

    # ------------------------------------------------------------------------------------------
    # Deadlines

    def _schedule_check(self, due: float) -> None:
        """Has `_look_at_deadlines` called no later than `due`."""
        if not self._ready.done() or self.failure is not None:
            return
        if self._check is None or due < self._check.when():
            self._cancel_check()
            self._check = self._loop.call_at(due, self._look_at_deadlines)

    def _look_at_deadlines(self) -> None:
        self._check = None
        now = self._loop.time()
        if self._is_writing and now >= self._last_write + self._deadlines.write:
            self._fail(f"the host has not read its input for {self._deadlines.write:g} s")
            return
        progress = self._last_read + self._deadlines.write
        for pending in self._pending.values():
            if pending.due <= now:
                if self._reader.is_within_frame and now < progress:
                    # The answer may be what is on its way, however slowly.
                    pending.due = progress
                    continue
                self._fail(f"the host has not answered {pending.kind} within {self._deadlines.call:g} s")
                return
        dues = [pending.due for pending in self._pending.values()]
        if self._is_writing:
            dues.append(self._last_write + self._deadlines.write)
        if dues:
            self._schedule_check(min(dues))

    def _startup_overdue(self) -> None:
        self._check = None
        self._fail(
            f"the host has not greeted within {self._deadlines.startup:g} s; is the program a code-mode host?"
        )

    def _cancel_check(self) -> None:
        if self._check is not None:
            self._check.cancel()
            self._check = None

    # ------------------------------------------------------------------------------------------
    # The end

    def _has_exited(self, exit: Exit) -> None:
        self._exit = exit
        while not self._output_ended and self.failure is None and self._read():
            pass
        self._begin_end(None)

    def _begin_end(self, reason: str | None) -> None:
        """Takes in a sign of the host's end; fails when its output and process have ended, or soon after the first."""
        self._end_reason = self._end_reason or reason
        if self.failure is not None:
            return
        if self._exit is not None and self._output_ended:
            self._fail_ended()
        elif self._grace is None:
            self._grace = self._loop.call_later(END_GRACE_SECONDS, self._fail_ended)

    def _fail_ended(self) -> None:
        cut = self._output_ended and self._reader.is_within_frame
        if self._exit is not None and not cut:
            self._fail(f"the host process ended: {self._exit}")
        else:
            self._fail((self._end_reason or "the host ended") + (f"; {self._exit}" if self._exit else ""))

    def _fail(self, cause: str) -> None:
        """Answers everybody, and kills the host."""
        if self.failure is not None:
            return
        self._process.drain_stderr()
        tail = self._process.stderr.text()
        full = f"{cause}; its last words: {tail}" if tail and not self._closing else cause
        exit = self._exit
        failure = HostLost(
            full, exit_status=exit.status if exit else None, signal=exit.signal if exit else None, stderr=tail
        )
        self.failure = failure
        self._cancel_check()
        if self._grace is not None:
            self._grace.cancel()
        unsent = {id for _, id in self._outbox if id is not None}
        self._stop_writing()
        self._stop_reading()
        self._outbox.clear()
        self._calls.fail(failure.with_side_effects("none"))
        self._outgoing.fail(failure.with_side_effects("none"))
        if not self._ready.done():
            self._ready.set_exception(failure.with_side_effects("none"))
        pendings, self._pending = self._pending, {}
        for id, pending in pendings.items():
            acted = pending.kind in ABOUT_A_CELL or (pending.kind == "session/execute" and id not in unsent)
            self._reject(pending, failure.with_side_effects("possible" if acted else "none"))
        work, self._work = self._work, {}
        for item in work.values():
            item.task.cancel()
        cells, self._cells = self._cells, {}
        for cell in cells.values():
            cell.lost(failure)
        if not self._closing:
            # A failed host gets no chance to do more.
            self._process.kill()
            self._process.close_stdin()
            self._process.close_output()

    async def _end(self, cause: str) -> None:
        """Ends the host and waits until it was reaped. The cause is for who is still waiting."""
        closing, self._closing = self._closing, True
        if self.failure is None:
            self._closing = closing or self._ready.done()
            self._fail(cause)
        self._process.close_stdin()
        try:
            await asyncio.wait([self._process.reaped], timeout=self._deadlines.shutdown)
        finally:
            self._process.kill()
        await asyncio.shield(self._process.reaped)
        self._process.close_output()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=0)


def error_message(error: BaseException) -> str:
    """What a script hears of an exception: its text, or its type when it has none."""
    return str(error) or type(error).__name__


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, rounded up so that a short wait does not become none."""
    if seconds < 0:
        raise InvalidRequest("a time cannot be negative")
    return min(-int(-seconds * 1000 // 1), 2**53)


def _resolve(pending: _Pending, value: Any) -> None:
    if not pending.future.done():
        pending.future.set_result(value)


def _look_at(future: asyncio.Future[Any]) -> None:
    """Marks an error as seen: a caller that has gone away needs no warning of it."""
    if not future.cancelled():
        future.exception()


def is_number(text: str) -> bool:
    """Whether `text` is a decimal number of 1 or more, as hosts write it."""
    return text.isascii() and text.isdigit() and not text.startswith("0") and len(text) <= 19


class GivenNumbers:
    """Which numbers were given. Those that come in order take no room."""

    def __init__(self) -> None:
        self._up_to = 0
        self._beyond: set[int] = set()

    def add(self, number: int) -> bool:
        """Takes note of a number; False when it was given before."""
        if number in self:
            return False
        self._beyond.add(number)
        while self._up_to + 1 in self._beyond:
            self._up_to += 1
            self._beyond.discard(self._up_to)
        return True

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and 1 <= number <= self._up_to or number in self._beyond
