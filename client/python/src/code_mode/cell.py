# SPDX-License-Identifier: Apache-2.0
"""Cells: scripts that run."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from . import wire
from .bounds import DEFAULT_YIELD_SECONDS, MAX_CELL_EVENT_BYTES, MAX_CELL_EVENTS
from .errors import BusyObserver, CellFinished, CellLost, CellTerminated, CodeModeError, HostLost
from .events import Ended, Event, Notification, Output, ToolCalled, Yielded
from .results import CellResponse, Item, Result
from .tools import Tool, ToolCall

if TYPE_CHECKING:
    from .connection import Connection
    from .session import Session

ToolKey = tuple[str, str | None]


class Cell:
    """A script that runs, or whose result nobody has taken yet.

    Iterate over it for everything that happens, or `wait` for what has come so far, or ask for the `result` at its
    end. One observer at a time. As an async context manager it terminates the cell when the block is left early.
    """

    def __init__(
        self,
        session: Session,
        connection: Connection,
        host_id: str,
        outer_id: str,
        exec_call_id: str,
        tools: Mapping[ToolKey, Tool],
        records: bool,
    ) -> None:
        self._session = session
        self._connection = connection
        self._records = records
        self._events: deque[tuple[Event, int]] = deque()
        self._event_bytes = 0
        self._wake: asyncio.Future[None] | None = None
        self._observed = False
        self._iterating = False
        self._failure: HostLost | None = None
        self._items: list[Item] = []
        self._final: CellResponse | None = None
        self._gone = False
        self._detached = False
        self._lost_before_end = False
        self.tools = tools
        self.host_id = host_id
        self.outer_id = outer_id
        self.exec_call_id = exec_call_id
        self.abandoned = False
        self.missed_events = 0
        """Tool calls and notifications that the iterator was too slow for."""
        self.first: asyncio.Future[CellResponse] | None = None

    @property
    def id(self) -> str:
        """The cell's id in its session: `1`, `2`, …; after a lost host `2.1`, `2.2`, …"""
        return self.outer_id

    @property
    def has_ended(self) -> bool:
        """Whether its final response was handed out."""
        return self._final is not None

    # ------------------------------------------------------------------------------------------
    # Observing

    async def wait(self, yield_time: float | None = None) -> CellResponse:
        """What has come since the last response, once the cell yields or ends, or after `yield_time` seconds.

        The first wait hears what the script does within the yield time that it was started with. A wait that is
        cancelled loses nothing: the next one gets what it would have got.
        """
        self._begin_observing()
        self._iterating = False
        try:
            return await self._observe(yield_time)
        finally:
            self._observed = False

    async def result(self) -> Result:
        """Waits for the end. Raises ScriptError, LimitError or CellTerminated, which have the output as well."""
        while self._final is None:
            await self.wait()
        whole = replace(self._final, items=tuple(self._items))
        if whole.status == "terminated":
            raise CellTerminated(whole)
        if whole.error is not None:
            whole.error.result = whole
            raise whole.error
        return whole

    async def terminate(self) -> CellResponse:
        """Ends the cell; when this returns, nothing of the script runs. Its last output is the response's."""
        self._refuse_if_over()
        parked = self.first
        if not self._observed and parked is not None and parked.done() and not _error(parked):
            if parked.result().is_final:
                return self._take()
        try:
            response = await self._connection.terminate(self)
        except CellFinished:
            if self._observed or self.first is None:
                raise CellFinished(self.outer_id) from None
            # The end was on its way already.
            return await self.wait()
        if self._observed:
            # The observer hears the same by its own answer.
            return replace(response, cell_id=self.outer_id)
        earlier: tuple[Item, ...] = ()
        if self.first is not None:
            await asyncio.wait([self.first])
            parked, self.first = self.first, None
            if not _error(parked):
                before = parked.result()
                if before.status == "yielded":
                    earlier = before.items
                elif not response.items:
                    response = before
        return self._deliver(replace(response, items=earlier + response.items))

    def detach(self) -> Cell:
        """Lets the cell run on when the block of its context manager is left."""
        self._detached = True
        return self

    def __aiter__(self) -> Cell:
        return self

    async def __anext__(self) -> Event:
        self._begin_observing(iterating=True)
        self._iterating = True
        try:
            while True:
                if self._events:
                    event, size = self._events.popleft()
                    self._event_bytes -= size
                    return event
                if self._final is not None:
                    raise StopAsyncIteration
                self._refuse_if_over()
                if self.first is None:
                    self.first = await self._connection.observe(self, DEFAULT_YIELD_SECONDS)
                if self.first.done():
                    self._push_response(self._take())
                    continue
                wake = self._wake = asyncio.get_running_loop().create_future()
                await asyncio.wait([self.first, wake], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._wake = None
            self._observed = False

    async def __aenter__(self) -> Cell:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._final is not None or self._detached or self._failure is not None:
            return
        try:
            await self.terminate()
        except (CellFinished, CellLost, HostLost):
            # It has ended by itself, or with its host.
            return

    def _begin_observing(self, iterating: bool = False) -> None:
        if self._observed:
            raise BusyObserver(self.outer_id)
        if not iterating:
            self._refuse_if_over()
        self._observed = True

    def _refuse_if_over(self) -> None:
        if self._final is not None:
            raise CellFinished(self.outer_id)
        self._session.refuse_if_closed(self)
        # A call that was pending hears of the loss itself; only what comes later asks for a lost cell.
        if self._failure is not None and self.first is None:
            raise CellLost(self.outer_id, self._failure.cause)

    async def _observe(self, yield_time: float | None) -> CellResponse:
        timeout = yield_time
        if self.first is None:
            seconds = DEFAULT_YIELD_SECONDS if yield_time is None else yield_time
            self.first, timeout = await self._connection.observe(self, seconds), None
        await asyncio.wait([self.first], timeout=timeout)
        if not self.first.done():
            return CellResponse(cell_id=self.outer_id, items=(), status="yielded")
        return self._take()

    def _take(self) -> CellResponse:
        """The answer of the observation at hand, which is done."""
        assert self.first is not None
        done, self.first = self.first, None
        try:
            response = done.result()
        except HostLost:
            raise
        except CodeModeError:
            self._gone = True
            self._session.forget(self)
            raise
        return self._deliver(response)

    def _deliver(self, response: CellResponse) -> CellResponse:
        response = replace(response, cell_id=self.outer_id, state_lost=self._session.take_untold(self._connection))
        if response.error is not None:
            response.error.result = response
        self._items.extend(response.items)
        if response.is_final:
            self._final = response
            self._session.forget(self)
        return response

    # ------------------------------------------------------------------------------------------
    # What the connection tells

    def asked(self, message: wire.ToolInvoke | wire.NotificationSend, size: int) -> None:
        """The script calls a tool or sends a notification."""
        if not self._records:
            return
        if isinstance(message, wire.ToolInvoke):
            self._push(ToolCalled(self.tool_call(message)), size)
        else:
            self._push(Notification(self.outer_id, self.exec_call_id, message.text), size)

    def tool_call(self, message: wire.ToolInvoke) -> ToolCall:
        """The call for policies, tools and events."""
        return ToolCall(
            cell_id=self.outer_id,
            call_id=message.call_id,
            exec_call_id=self.exec_call_id,
            name=message.name,
            namespace=message.namespace,
            input=message.input,
        )

    def received(self, response: CellResponse) -> None:
        """The observation at hand was answered."""
        if self._iterating and self.first is not None and self.first.done():
            # At once, so that what the script does next comes after it.
            self._push_response(self._take())

    def closed(self) -> None:
        """The host is done with the cell."""
        if self.abandoned:
            self._session.forget(self)

    def lost(self, failure: HostLost) -> None:
        """The cell went with its host."""
        self._failure = failure
        self._notice()

    def _push_response(self, response: CellResponse) -> None:
        if response.items:
            self._events.append((Output(response.items), 0))
        if response.status == "yielded":
            self._events.append((Yielded(), 0))
        else:
            self._events.append((Ended(response.status, response.error), 0))
        self._notice()

    def _push(self, event: Event, size: int) -> None:
        self._events.append((event, size))
        self._event_bytes += size
        while len(self._events) > MAX_CELL_EVENTS or self._event_bytes > MAX_CELL_EVENT_BYTES:
            position = next(
                (n for n, (each, _) in enumerate(self._events) if isinstance(each, ToolCalled | Notification)), None
            )
            if position is None:
                break
            self._event_bytes -= self._events[position][1]
            del self._events[position]
            self.missed_events += 1
        self._notice()

    def _notice(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


def _error(future: asyncio.Future[CellResponse]) -> BaseException | None:
    return asyncio.CancelledError() if future.cancelled() else future.exception()
