# SPDX-License-Identifier: Apache-2.0
"""A bound that callers wait at, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque


class Gate:
    """Lets in as much as `maximum`, and one that is larger when nothing else is inside."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.inside = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._failure: BaseException | None = None

    @property
    def is_full(self) -> bool:
        """Whether the bound is reached."""
        return self.inside >= self.maximum

    async def enter(self, amount: int = 1) -> None:
        """Waits for room and takes it. Raises what `fail` was given once that was called."""
        if self._failure is not None:
            raise self._failure
        if not self._waiting and self._fits(amount):
            self.inside += amount
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave(amount)
            else:
                self._let_in()
            raise

    def force(self, amount: int) -> None:
        """Takes room whether or not there is any."""
        self.inside += amount

    def leave(self, amount: int = 1) -> None:
        """Gives room back."""
        self.inside -= amount
        self._let_in()

    def fail(self, failure: BaseException) -> None:
        """Turns everybody away who waits, and everybody who comes."""
        self._failure = failure
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(failure)

    def _fits(self, amount: int) -> bool:
        return self.inside == 0 or self.inside + amount <= self.maximum

    def _let_in(self) -> None:
        while self._waiting:
            amount, turn = self._waiting[0]
            if turn.done():
                self._waiting.popleft()
            elif self._fits(amount):
                self._waiting.popleft()
                self.inside += amount
                turn.set_result(None)
            else:
                return
