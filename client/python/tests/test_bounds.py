# SPDX-License-Identifier: Apache-2.0
"""The bounds that are reached by using a session."""

from __future__ import annotations

import asyncio
import os
import signal
from unittest.mock import patch

from code_mode import CellLost, HostLost, LimitError, Session, ToolCalled
from code_mode.bounds import (
    MAX_CALLS,
    MAX_CELL_EVENTS,
    MAX_KEPT_CELLS,
    MAX_OUTGOING_BYTES,
    MAX_REMEMBERED_LOSSES,
    Deadlines,
)
from code_mode.connection import Connection
from code_mode.gate import Gate

from .support import PATIENCE, HostTestCase, fake


async def waiting_at(gate: Gate, number: int) -> None:
    """Waits until so many callers wait at a gate."""
    async with asyncio.timeout(PATIENCE):
        while len(gate._waiting) != number:
            await asyncio.sleep(0.005)


def connection_of(session: Session) -> Connection:
    """The connection, which no interface shows."""
    assert session._connection is not None
    return session._connection


def kill(session: Session) -> None:
    """Kills the host."""
    assert session.process_id is not None
    os.kill(session.process_id, signal.SIGKILL)


class Bounds(HostTestCase):
    """Each is back-pressure or a clear error, never growth."""

    async def test_further_calls_wait_for_those_that_are_not_answered(self) -> None:
        async with Session(host=fake("mute")) as session:
            running = [asyncio.create_task(session.exec("1")) for _ in range(MAX_CALLS + 3)]
            gate = connection_of(session)._calls
            await waiting_at(gate, 3)
            self.assertEqual(gate.inside, MAX_CALLS)
            kill(session)
            errors = await asyncio.gather(*running, return_exceptions=True)
            self.assertTrue(all(isinstance(error, HostLost) for error in errors))
            self.assertEqual([error.side_effects for error in errors if isinstance(error, HostLost)][-3:], ["none"] * 3)

    async def test_further_bytes_wait_for_those_that_the_host_has_not_taken(self) -> None:
        async with Session(host=fake("unread"), deadlines=Deadlines(shutdown=0.1)) as session:
            source = "/*" + "x" * 50_000_000 + "*/"
            running = [asyncio.create_task(session.exec(source)) for _ in range(3)]
            gate = connection_of(session)._outgoing
            await waiting_at(gate, 1)
            self.assertLessEqual(gate.inside, MAX_OUTGOING_BYTES)
            kill(session)
            for error in await asyncio.gather(*running, return_exceptions=True):
                assert isinstance(error, HostLost)
                self.assertEqual(error.side_effects, "none")

    async def test_cells_whose_result_nobody_takes_are_bounded(self) -> None:
        async with Session() as session:
            for _ in range(0, MAX_KEPT_CELLS, 64):
                started = [session._start("1", None, None, None, None, None, 10, True) for _ in range(64)]
                cells = await asyncio.gather(*started)
                # The next ones start when these have ended on the host.
                await asyncio.wait([cell.first for cell in cells if cell.first is not None])
            with self.assertRaises(LimitError) as caught:
                await session.start("1")
            self.assertEqual((caught.exception.maximum, caught.exception.side_effects), (MAX_KEPT_CELLS, "none"))
            await session.wait("1")
            self.assertEqual((await (await session.start("text(1)")).wait()).text, "1")

    async def test_events_that_nobody_iterates_over_are_bounded(self) -> None:
        async def echo(value: int | str) -> int | str:
            return value

        async with Session(tools=[echo]) as session:
            source = f"for (let i = 0; i < {MAX_CELL_EVENTS + 10}; i++) await tools.echo({{ value: i }})"
            cell = await session.start(source)
            assert cell.first is not None
            await asyncio.wait([cell.first])
            self.assertEqual(cell.missed_events, 10)
            source = "for (let i = 0; i < 3; i++) await tools.echo({ value: 'x'.repeat(6_000_000) })"
            large = await session.start(source)
            assert large.first is not None
            await asyncio.wait([large.first])
            self.assertEqual(large.missed_events, 1)
            inputs = [event.call.input["value"] async for event in cell if isinstance(event, ToolCalled)]
            self.assertEqual((inputs[0], len(inputs)), (10, MAX_CELL_EVENTS))

    async def test_input_that_is_at_work_is_bounded(self) -> None:
        async def hang(value: str) -> None:
            await asyncio.Event().wait()

        source = """
            tools.hang({ value: 'x'.repeat(600) });
            try { await tools.hang({ value: 'x'.repeat(600) }) } catch (e) { text(e.message ?? e) }
        """
        with patch("code_mode.connection.MAX_TOOL_INPUT_BYTES", 1_500):
            async with Session(tools=[hang]) as session:
                result = await session.exec(source)
        self.assertEqual(result.text, "the client's limit of 1500 bytes of tool inputs is reached")

    async def test_lost_hosts_are_remembered_within_a_bound(self) -> None:
        with patch("code_mode.session.FIRST_RESTART_PAUSE_SECONDS", 0):
            async with Session() as session:
                for _ in range(MAX_REMEMBERED_LOSSES + 1):
                    cell = await session.start("yield_control(); await new Promise(() => {})")
                    await cell.wait()
                    kill(session)
                    with self.assertRaises((HostLost, CellLost)):
                        await cell.wait()
                await session.exec("1")
                with self.assertRaisesRegex(CellLost, "its host was replaced more than once since"):
                    session.cell("1")
                with self.assertRaisesRegex(CellLost, "signal 9"):
                    session.cell("2.1")
