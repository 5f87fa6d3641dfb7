# SPDX-License-Identifier: Apache-2.0
"""Sessions: what an embedder works with."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from types import TracebackType
from typing import Any

from . import wire
from .bounds import (
    DEFAULT_YIELD_SECONDS,
    FIRST_RESTART_PAUSE_SECONDS,
    MAX_KEPT_CELLS,
    MAX_REMEMBERED_LOSSES,
    MAX_RESTART_PAUSE_SECONDS,
    STABLE_AFTER_SECONDS,
    Deadlines,
    Globals,
    Limits,
)
from .cell import Cell, ToolKey
from .connection import Connection, GivenNumbers, error_message, is_number, milliseconds
from .errors import (
    CellFinished,
    CellLost,
    HostLost,
    LimitError,
    MissingCell,
    SessionClosed,
    StartFailed,
    ToolError,
)
from .events import Notification
from .locate import HostCommand, find_host
from .results import CellResponse, Result, StateLost
from .tools import Allow, Deny, Policy, Tool, as_tool
from .wire import Json

NotificationHandler = Callable[[Notification], None | Awaitable[None]]
AnyTool = Tool | Callable[..., Any]


class Session:
    """A session of scripts, with a host process of its own that it starts, watches and ends.

    `async with Session(tools=[function]) as session: ...` starts the host at once and ends it with the block.
    Stored values and running cells live as long as the host; when it is lost, every call that waits for it fails
    at once, and the next exec starts a fresh one and says in its result what was lost.
    """

    def __init__(
        self,
        tools: Iterable[AnyTool] = (),
        *,
        host: HostCommand | None = None,
        policy: Policy | None = None,
        on_notification: NotificationHandler | None = None,
        limits: Limits | None = None,
        globals: Globals | None = None,
        environment: Mapping[str, str] | None = None,
        working_folder: str | os.PathLike[str] | None = None,
        deadlines: Deadlines | None = None,
        namespace: str | None = None,
    ) -> None:
        """Takes what scripts may do; nothing is started yet.

        Args:
            tools: what scripts may call, unless an exec names others.
            host: the host program, or a command such as `["ssh", "box", "code_mode_host"]`. Without it: the variable
                CODE_MODE_HOST, the program in this package, `code_mode_host` in PATH.
            policy: is asked before every single call of a tool.
            on_notification: gets what scripts send with `notify`.
            limits: bounds of every cell, unless an exec names others.
            globals: which globals every script has, unless an exec names others: "contract", or "web" for `URL`,
                `console` and their like as well. Without it the host's choice.
            environment: the host's environment variables; it has no others.
            working_folder: the host's working folder; without it this process's own.
            deadlines: how long the host may take for what.
            namespace: of tools that have none of their own.
        """
        self._namespace = namespace
        self._tools = self._tool_set(tools)
        self._host = host
        self._policy = policy
        self._on_notification = on_notification
        self._limits = limits
        self._globals = globals
        self._environment = dict(environment or {})
        self._working_folder = None if working_folder is None else os.fspath(working_folder)
        self._deadlines = deadlines or Deadlines()
        self._connection: Connection | None = None
        self._generation = 0
        self._starting: asyncio.Task[Connection] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self._cells: dict[str, Cell] = {}
        self._given = GivenNumbers()
        self._used = False
        self._losses: deque[StateLost] = deque(maxlen=MAX_REMEMBERED_LOSSES)
        self._untold: StateLost | None = None
        self._failures = 0
        self._not_before = 0.0
        self._next_call = 1

    # ------------------------------------------------------------------------------------------
    # Scripts

    async def exec(
        self,
        source: str,
        *,
        tools: Iterable[AnyTool] | None = None,
        limits: Limits | None = None,
        globals: Globals | None = None,
        max_output_tokens: int | None = None,
        call_id: str | None = None,
    ) -> Result:
        """Runs a script to its end.

        Raises ScriptError when it fails, LimitError when it reaches a bound, HostLost when the host is lost. When the
        awaiting task is cancelled, as by `asyncio.timeout`, the script is terminated.
        """
        cell = await self._start(source, tools, limits, globals, max_output_tokens, call_id, DEFAULT_YIELD_SECONDS, False)
        try:
            return await cell.result()
        except asyncio.CancelledError:
            cell._connection.abandon(cell)
            raise

    def start(
        self,
        source: str,
        *,
        tools: Iterable[AnyTool] | None = None,
        limits: Limits | None = None,
        globals: Globals | None = None,
        max_output_tokens: int | None = None,
        call_id: str | None = None,
        yield_time: float = DEFAULT_YIELD_SECONDS,
    ) -> Starting:
        """Starts a script: `cell = await session.start(...)`, or `async with session.start(...) as cell`.

        Args:
            source: the JavaScript.
            tools: what it may call, in place of the session's.
            limits: bounds of the cell, in place of the session's.
            globals: which globals the script has, in place of the session's.
            max_output_tokens: how many tokens of output the caller means to keep; advice for the host.
            call_id: the caller's own id of this exec, which every nested call carries.
            yield_time: seconds until the first response, if the script neither ends nor yields before.
        """
        return Starting(
            lambda: self._start(source, tools, limits, globals, max_output_tokens, call_id, yield_time, True)
        )

    def cell(self, cell_id: str) -> Cell:
        """The cell of this id, unless it has ended and its result was taken. Raises MissingCell, CellFinished, CellLost."""
        self._refuse_if_closed()
        self._note_loss()
        cell = self._cells.get(cell_id)
        if cell is not None:
            return cell
        generation, number = _parse_cell_id(cell_id)
        if generation == self._generation and self._connection is not None and number in self._given:
            raise CellFinished(cell_id)
        if 0 < generation <= self._generation and (generation < self._generation or self._connection is None):
            raise CellLost(cell_id, self._cause_of(generation))
        raise MissingCell(cell_id)

    async def wait(self, cell_id: str, yield_time: float | None = None) -> CellResponse:
        """`Cell.wait` of the cell of this id."""
        return await self.cell(cell_id).wait(yield_time)

    async def terminate(self, cell_id: str) -> CellResponse:
        """`Cell.terminate` of the cell of this id."""
        return await self.cell(cell_id).terminate()

    # ------------------------------------------------------------------------------------------
    # The store

    async def export_store(self) -> dict[str, Json]:
        """The stored values. Needs a host with `code_mode/store-v1`."""
        self._refuse_if_closed()
        self._note_loss()
        if self._connection is None and self._starting is None:
            if not self._losses:
                return {}
            raise HostLost(self._losses[-1].cause, side_effects="none")
        return await (await self._bound()).export_store()

    async def import_store(self, values: Mapping[str, Json]) -> None:
        """Stores values for the cells to come. Needs a host with `code_mode/store-v1`."""
        connection = await self._bound()
        self._used = True
        await connection.import_store(values)

    # ------------------------------------------------------------------------------------------
    # Life cycle

    @property
    def process_id(self) -> int | None:
        """The process id of the host; None while there is none."""
        return None if self._connection is None or self._connection.failure else self._connection.process_id

    @property
    def capabilities(self) -> frozenset[str]:
        """What the host has beyond plain V1."""
        return frozenset() if self._connection is None else self._connection.capabilities

    async def close(self) -> None:
        """Ends every cell and the host; when this returns, the process was reaped. A second call does nothing more."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def __aenter__(self) -> Session:
        await self._bound()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _close(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._connection is not None:
            await self._connection.close()
        if self._ending:
            await asyncio.wait(self._ending)

    def refuse_if_closed(self, cell: Cell) -> None:
        """Raises SessionClosed, unless the cell still has something to hand out."""
        if self._closing is not None and cell.first is None:
            raise SessionClosed

    def _refuse_if_closed(self) -> None:
        if self._closing is not None:
            raise SessionClosed

    async def _bound(self) -> Connection:
        """The connection to a host that lives; starts one where there is none."""
        self._refuse_if_closed()
        self._note_loss()
        if self._connection is not None:
            return self._connection
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._start_host())
            self._starting.add_done_callback(_look_at)
        try:
            return await asyncio.shield(self._starting)
        except asyncio.CancelledError:
            if self._closing is not None and (task := asyncio.current_task()) is not None and not task.cancelling():
                raise SessionClosed from None
            raise

    async def _start_host(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            command = find_host(self._host)
            if (pause := self._not_before - loop.time()) > 0:
                await asyncio.sleep(pause)
            try:
                connection = await Connection.start(
                    self,
                    command,
                    environment=self._environment,
                    working_folder=self._working_folder,
                    deadlines=self._deadlines,
                )
            except StartFailed:
                self._host_failed(None)
                raise
            self._connection = connection
            self._generation += 1
            self._given = GivenNumbers()
            self._used = False
            return connection
        finally:
            self._starting = None

    def _note_loss(self) -> None:
        """Lets a host go that has failed."""
        connection = self._connection
        if connection is None or connection.failure is None or self._closing is not None:
            return
        self._connection = None
        loss = StateLost(self._generation, connection.failure.cause)
        if self._used:
            self._untold = loss
        self._losses.append(loss)
        self._cells.clear()
        self._host_failed(connection.ready_at)
        # It was killed when it failed; this waits until it is reaped.
        task = asyncio.get_running_loop().create_task(connection.close())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _host_failed(self, ready_at: float | None) -> None:
        now = asyncio.get_running_loop().time()
        if ready_at is not None and now - ready_at >= STABLE_AFTER_SECONDS:
            self._failures = 0
        self._failures += 1
        # The first costs nothing, so that a host that was killed once is replaced at once.
        pause = 0.0 if self._failures < 2 else FIRST_RESTART_PAUSE_SECONDS * 2.0 ** min(self._failures - 2, 30)
        self._not_before = now + min(pause, MAX_RESTART_PAUSE_SECONDS)

    def _cause_of(self, generation: int) -> str:
        causes = [loss.cause for loss in self._losses if loss.generation == generation]
        return causes[0] if causes else "its host was replaced more than once since"

    # ------------------------------------------------------------------------------------------
    # Inside

    def _tool_set(self, tools: Iterable[AnyTool]) -> dict[ToolKey, Tool]:
        made: dict[ToolKey, Tool] = {}
        for given in tools:
            each = as_tool(given, self._namespace)
            key = (each.name, each.namespace)
            if key in made:
                raise TypeError(f"there are two tools {each.name}")
            made[key] = each
        return made

    async def _start(
        self,
        source: str,
        tools: Iterable[AnyTool] | None,
        limits: Limits | None,
        globals: Globals | None,
        max_output_tokens: int | None,
        call_id: str | None,
        yield_time: float,
        records: bool,
    ) -> Cell:
        tool_set = self._tools if tools is None else self._tool_set(tools)
        limits = self._limits if limits is None else limits
        connection = await self._bound()
        if len(self._cells) >= MAX_KEPT_CELLS:
            raise LimitError(
                f"the limit of {MAX_KEPT_CELLS} cells whose result nobody has taken is reached",
                limit="cells",
                maximum=MAX_KEPT_CELLS,
                side_effects="none",
            )
        if limits is not None and limits != Limits():
            connection.require_limits()
        globals = self._globals if globals is None else globals
        if globals is not None:
            connection.require_globals()
        if call_id is None:
            call_id, self._next_call = f"exec-{self._next_call}", self._next_call + 1
        exec_call_id, generation, given = call_id, self._generation, self._given
        fields = wire.execute_fields(
            exec_call_id,
            [tool.definition for tool in tool_set.values()],
            source,
            milliseconds(yield_time),
            max_output_tokens,
            limits,
            globals,
        )

        def make_cell(host_id: str) -> Cell:
            given.add(int(host_id))
            outer_id = host_id if generation == 1 else f"{generation}.{host_id}"
            cell = Cell(self, connection, host_id, outer_id, exec_call_id, tool_set, records)
            self._cells[outer_id] = cell
            return cell

        self._used = True
        cell = await connection.execute(fields, yield_time, make_cell)
        assert isinstance(cell, Cell)
        return cell

    def forget(self, cell: Cell) -> None:
        """A cell has nothing more to hand out."""
        if self._cells.get(cell.outer_id) is cell:
            del self._cells[cell.outer_id]

    def take_untold(self, connection: Connection) -> StateLost | None:
        """What a response of this connection has to say of a loss before it; it is said once."""
        if connection is not self._connection or self._untold is None:
            return None
        loss, self._untold = self._untold, None
        return loss

    async def call_tool(self, cell: Cell, message: wire.ToolInvoke) -> Json:
        """Answers a call of a script."""
        if message.too_deep:
            raise ToolError("the input is nested too deeply")
        call = cell.tool_call(message)
        input = message.input
        if self._policy is not None:
            try:
                decision = self._policy(call)
                if inspect.isawaitable(decision):
                    decision = await decision
            except Exception as error:
                raise ToolError(f"the policy failed: {error_message(error)}") from error
            if isinstance(decision, Deny):
                raise ToolError(decision.reason)
            if not isinstance(decision, Allow):
                raise ToolError("the policy gave no decision")
            if decision.input is not ...:
                input = decision.input
        tool = cell.tools.get((message.name, message.namespace))
        if tool is None:
            raise ToolError(f"there is no tool {message.name}")
        return await tool.call(input, call)

    async def notify(self, cell: Cell, message: wire.NotificationSend) -> None:
        """Takes a notification of a script."""
        if self._on_notification is not None:
            result = self._on_notification(Notification(cell.outer_id, cell.exec_call_id, message.text))
            if inspect.isawaitable(result):
                await result


class Starting:
    """A cell that is about to start: await it, or use it as an async context manager."""

    def __init__(self, start: Callable[[], Awaitable[Cell]]) -> None:
        self._start = start
        self._cell: Cell | None = None

    def __await__(self) -> Generator[Any, None, Cell]:
        return self._start().__await__()

    async def __aenter__(self) -> Cell:
        self._cell = await self._start()
        return self._cell

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._cell is not None
        await self._cell.__aexit__(kind, error, traceback)


def _parse_cell_id(cell_id: str) -> tuple[int, int]:
    """The generation and number in a cell's id; zeros when no session gives such an id."""
    generation, dot, number = cell_id.rpartition(".")
    if not is_number(number) or (dot and (not is_number(generation) or generation == "1")):
        return 0, 0
    return int(generation or 1), int(number)


def _look_at(task: asyncio.Task[Connection]) -> None:
    """Marks an error as seen: a caller that has gone away needs no warning of it."""
    if not task.cancelled():
        task.exception()
