# SPDX-License-Identifier: Apache-2.0
"""The host dies, or the client does: who waits learns of it, and nothing is left behind.

The figures go to standard error. The project's aim is 100 ms; a test fails only at the guard, since a machine may
be busy.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from code_mode import CellLost, HostLost, ScriptError, Session, StartFailed, ToolCall

from .support import PATIENCE, HostTestCase, children, fake, wait_for_end

GUARD_SECONDS = 5.0


def report(state: str, begun: float) -> float:
    """Tells how long it took to learn of a death."""
    seconds = time.monotonic() - begun
    print(f"killed {state}: the caller knew after {seconds * 1000:.1f} ms", file=sys.stderr)
    return seconds


class KilledHost(HostTestCase):
    """SIGKILL at each state of the protocol."""

    def kill(self, session: Session) -> float:
        pid = session.process_id
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return time.monotonic()

    def assert_lost(self, error: HostLost, side_effects: str) -> None:
        self.assertEqual(error.signal, signal.SIGKILL)
        self.assertIsNone(error.exit_status)
        self.assertEqual(error.side_effects, side_effects)
        self.assertIn("killed by signal 9", str(error))

    async def test_before_the_hello(self) -> None:
        before = children()
        session = Session(host=fake("silent"))
        running = asyncio.create_task(session.exec("text(1)"))
        while not (started := children() - before):
            await asyncio.sleep(0.005)
        (pid,) = started
        os.kill(pid, signal.SIGKILL)
        begun = time.monotonic()
        with self.assertRaisesRegex(StartFailed, "killed by signal 9") as caught:
            await running
        self.assertLess(report("before the hello", begun), GUARD_SECONDS)
        self.assertEqual(caught.exception.side_effects, "none")
        await session.close()

    async def test_during_an_exec_that_computes(self) -> None:
        async with Session() as session:
            async with session.start("yield_control(); for (;;);") as cell:
                self.assertEqual((await cell.wait()).status, "yielded")
                running: list[asyncio.Task[Any]] = [asyncio.create_task(cell.wait())]
                running += [asyncio.create_task(session.exec("await new Promise(() => {})")) for _ in range(5)]
                # Once a later script has run to its end, all of these are at work.
                await session.exec("text(1)")
                begun = self.kill(session)
                for task in running:
                    with self.assertRaises(HostLost) as caught:
                        await task
                    self.assert_lost(caught.exception, "possible")
                self.assertLess(report("during an exec", begun), GUARD_SECONDS)
                with self.assertRaises(CellLost):
                    await cell.wait()

    async def test_during_a_tool_call(self) -> None:
        called, cancelled = asyncio.Event(), asyncio.Event()

        async def hang(call: ToolCall) -> None:
            called.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        async with Session(tools=[hang]) as session:
            running = asyncio.create_task(session.exec("await tools.hang()"))
            await called.wait()
            begun = self.kill(session)
            with self.assertRaises(HostLost) as caught:
                await running
            self.assert_lost(caught.exception, "possible")
            self.assertLess(report("during a tool call", begun), GUARD_SECONDS)
            await asyncio.wait_for(cancelled.wait(), PATIENCE)

    async def test_while_a_cell_is_parked(self) -> None:
        async with Session() as session:
            cell = await session.start("text('kept'); yield_control(); await new Promise(() => {})")
            await cell.wait()
            begun = self.kill(session)
            with self.assertRaises((HostLost, CellLost)) as caught:
                await cell.wait()
            self.assertLess(report("while a cell is parked", begun), GUARD_SECONDS)
            self.assertEqual(caught.exception.side_effects, "possible")
            with self.assertRaises(CellLost):
                await cell.terminate()
            self.assertIsNone(session.process_id, "a terminate started a host")

    async def test_a_kernel_without_pidfds_makes_no_difference(self) -> None:
        with patch("os.pidfd_open", side_effect=OSError("not implemented")):
            async with Session() as session:
                running = asyncio.create_task(session.exec("await new Promise(() => {})"))
                await session.exec("1")
                self.kill(session)
                with self.assertRaises(HostLost) as caught:
                    await running
                self.assert_lost(caught.exception, "possible")

    async def test_an_iterator_hears_of_it(self) -> None:
        async with Session() as session:
            cell = await session.start("yield_control(); await new Promise(() => {})")
            seen = []
            with self.assertRaises(HostLost):
                async for event in cell:
                    seen.append(type(event).__name__)
                    self.kill(session)
            self.assertEqual(seen, ["Yielded"])

    async def test_the_next_exec_has_a_fresh_host_and_says_so_once(self) -> None:
        async with Session() as session:
            await session.exec("store('k', 1)")
            lost = await session.start("yield_control(); await new Promise(() => {})")
            await lost.wait()
            first = session.process_id
            self.kill(session)
            with self.assertRaises((HostLost, CellLost)):
                await lost.wait()
            with self.assertRaises(CellLost):
                await session.wait(lost.id)
            result = await session.exec("text(load('k'))")
            self.assertNotEqual(session.process_id, first)
            self.assertEqual(result.text, "undefined")
            self.assertEqual(result.cell_id, "2.1")
            assert result.state_lost is not None
            self.assertEqual(result.state_lost.generation, 1)
            self.assertIn("signal 9", result.state_lost.cause)
            self.assertIsNone((await session.exec("1")).state_lost)
            with self.assertRaises(CellLost):
                await session.terminate(lost.id)

    async def test_an_exec_that_never_left_has_no_side_effects(self) -> None:
        async with Session(host=fake("unread_then_dies")) as session:
            # More than a pipe holds, so that no host can have read it.
            with self.assertRaises(HostLost) as caught:
                await session.exec("/*" + "x" * 4_000_000 + "*/")
            self.assert_lost(caught.exception, "none")

    async def test_hosts_that_keep_dying_are_started_ever_more_slowly(self) -> None:
        session = Session(host=fake("exits"))
        for _ in range(3):
            with self.assertRaisesRegex(StartFailed, "status 3"):
                await session.exec("1")
        begun = time.monotonic()
        with self.assertRaises(StartFailed):
            await session.exec("1")
        self.assertGreaterEqual(time.monotonic() - begun, 0.15)
        await session.close()


CLIENT = """
import asyncio, sys
from code_mode import Session

async def main():
    async with Session() as session:
        cell = await session.start("yield_control(); for (;;);")
        await cell.wait()
        print(session.process_id, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


class KilledClient(HostTestCase):
    """The client's process is killed: the host's input ends, and so does the host."""

    async def test_the_host_ends_with_its_client(self) -> None:
        source = str(Path(__file__).parents[1] / "src")
        environment = {**os.environ, "PYTHONPATH": source}
        client = subprocess.Popen([sys.executable, "-c", CLIENT], stdout=subprocess.PIPE, env=environment)
        assert client.stdout is not None
        host = int(client.stdout.readline())
        client.kill()
        begun = time.monotonic()
        ended = await asyncio.to_thread(wait_for_end, host)
        client.wait()
        client.stdout.close()
        self.assertTrue(ended, "the host outlives its client")
        print(f"killed client: the host was gone after {(time.monotonic() - begun) * 1000:.1f} ms", file=sys.stderr)
        await asyncio.get_running_loop().shutdown_default_executor()


class CancelledCallers(HostTestCase):
    """Callers that go away."""

    async def test_a_cancelled_exec_ends_its_script(self) -> None:
        async with Session() as session:
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await session.exec("for (;;);")
            self.assertEqual((await session.exec("text('on')")).text, "on")
            async with asyncio.timeout(PATIENCE):
                # The end of the script is on its way; every exec is a round trip.
                while session._cells:
                    await session.exec("1")

    async def test_a_cancelled_wait_loses_nothing(self) -> None:
        go = asyncio.Event()

        async def gate() -> None:
            await go.wait()

        async with Session(tools=[gate]) as session:
            cell = await session.start("text('a'); await tools.gate(); text('b')")
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await cell.wait()
            self.assertEqual((await cell.wait(0)).status, "yielded")
            go.set()
            self.assertEqual((await cell.result()).texts, ["a", "b"])

    async def test_a_block_that_is_left_terminates_its_cell(self) -> None:
        async with Session() as session:
            with self.assertRaises(ZeroDivisionError):
                async with session.start("yield_control(); for (;;);") as cell:
                    await cell.wait()
                    1 / 0
            self.assertTrue(cell.has_ended)
            async with session.start("yield_control(); text('ran on')") as cell:
                await cell.wait()
                cell.detach()
            self.assertEqual((await cell.result()).text, "ran on")

    async def test_closing_ends_everything(self) -> None:
        session = Session()
        running = asyncio.create_task(session.exec("await new Promise(() => {})"))
        await session.exec("1")
        await session.close()
        with self.assertRaises(Exception) as caught:
            await running
        self.assertEqual(type(caught.exception).__name__, "CellTerminated")
        self.assertNotIsInstance(caught.exception, ScriptError)
