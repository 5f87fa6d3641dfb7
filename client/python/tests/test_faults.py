# SPDX-License-Identifier: Apache-2.0
"""Hosts that break the protocol, hang or never were hosts."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from code_mode import (
    Audio,
    Deadlines,
    HostLost,
    HostNotFound,
    InvalidRequest,
    Session,
    StartFailed,
    ToolError,
    find_host,
)
from code_mode.bounds import MAX_FRAME_BYTES
from code_mode.locate import HOST_VARIABLE

from .support import HostTestCase, fake

SHORT = Deadlines(startup=0.3, shutdown=0.3, call=0.3, write=0.3)


class BrokenHosts(HostTestCase):
    """Each is told from the others by the words of the error."""

    async def assert_exec_fails(self, mode: str, words: str, deadlines: Deadlines | None = None) -> HostLost:
        session = Session(host=fake(mode), deadlines=deadlines)
        try:
            with self.assertRaisesRegex(HostLost, words) as caught:
                await session.exec("text(1)")
        finally:
            await session.close()
        return caught.exception

    async def test_a_violation_ends_the_host(self) -> None:
        for mode, words in [
            ("too_long", "67108865 bytes is larger than 67108864 bytes"),
            ("no_json", "is no JSON"),
            ("unknown_field", "unknown field more"),
            ("foreign_answer", "request 99, which is not in flight"),
            ("unknown_cell", "cell 7, which does not live"),
            ("cut", "broke off within a message"),
            ("closes_output", "closed its output"),
        ]:
            with self.subTest(mode=mode):
                error = await self.assert_exec_fails(mode, words)
                self.assertEqual(error.side_effects, "possible")

    async def test_a_second_answer_is_a_violation(self) -> None:
        async with Session(host=fake("twice")) as session:
            self.assertEqual((await session.exec("text(1)")).text, "x")
            try:
                lost = (await session.exec("text(2)")).state_lost
                cause = lost.cause if lost else "nothing was lost"
            except HostLost as error:
                # The second answer came while this exec was on its way.
                cause = error.cause
            self.assertRegex(cause, "request 2, which is not in flight")

    async def test_a_host_that_cannot_start_says_why(self) -> None:
        for mode, words in [
            ("exits", "status 3; its last words: first line\nthe second, which says why"),
            ("rejects", r"no protocol version in common: the host speaks \[7\]"),
            ("no_host", "larger than 67108864 bytes"),
        ]:
            with self.subTest(mode=mode), self.assertRaisesRegex(StartFailed, words):
                await Session(host=fake(mode)).exec("text(1)")

    async def test_a_silent_host_misses_its_deadline(self) -> None:
        session = Session(host=fake("silent"), deadlines=SHORT)
        with self.assertRaisesRegex(StartFailed, "has not greeted within 0.3 s"):
            await session.exec("text(1)")

    async def test_a_host_that_does_not_answer_misses_its_deadline(self) -> None:
        session = Session(host=fake("hangs_on_input"), deadlines=SHORT)
        cell = await session.start("text(1)", yield_time=0.1)
        with self.assertRaisesRegex(HostLost, "has not answered initial within 0.3 s"):
            await cell.wait()
        await session.close()

    async def test_a_host_that_does_not_read_misses_its_deadline(self) -> None:
        deadlines = Deadlines(startup=20, call=20, write=0.3, shutdown=0.3)
        await self.assert_write_deadline(deadlines)

    async def assert_write_deadline(self, deadlines: Deadlines) -> None:
        async with Session(host=fake("unread"), deadlines=deadlines) as session:
            with self.assertRaisesRegex(HostLost, "has not read its input for 0.3 s") as caught:
                await session.exec("/*" + "x" * 4_000_000 + "*/")
            self.assertEqual(caught.exception.side_effects, "none")

    async def test_a_slow_but_steady_host_is_not_overdue(self) -> None:
        deadlines = Deadlines(startup=20, call=0.2, write=2, shutdown=2)
        async with Session(host=fake("drips"), deadlines=deadlines) as session:
            begun = time.monotonic()
            cell = await session.start("text(1)", yield_time=0)
            self.assertEqual((await cell.wait()).text, "x" * 100)
            self.assertGreater(time.monotonic() - begun, 0.4)

    async def test_a_host_that_does_not_end_is_killed(self) -> None:
        session = Session(host=fake("hangs_on_input"), deadlines=Deadlines(shutdown=0.2))
        await session.start("text(1)")
        begun = time.monotonic()
        await session.close()
        self.assertLess(time.monotonic() - begun, 20)

    async def test_what_other_hosts_add_is_read(self) -> None:
        async with Session(host=fake("audio")) as session:
            result = await session.exec("text(1)")
            self.assertEqual(result.audio, [Audio("data:audio/wav;base64,AAEC")])
            self.assertEqual(result.audio[0].data, b"\x00\x01\x02")
            self.assertEqual(result.host_duration_ns, 12)

    async def test_calls_beyond_the_bound_are_answered_with_an_error(self) -> None:
        async def echo() -> None:
            await asyncio.Event().wait()

        async with Session(tools=[echo], host=fake("many_calls")) as session:
            result = await session.exec("text(1)")
            self.assertEqual(result.text, "4097: the client's limit of 4096 open tool calls is reached")

    async def test_input_that_is_nested_too_deeply_fails_that_call_alone(self) -> None:
        async def echo() -> None:
            raise ToolError("was called")

        async with Session(tools=[echo], host=fake("deep_call")) as session:
            result = await session.exec("text(1)")
            self.assertIn("the input is nested too deeply", result.text)

    async def test_what_is_larger_than_a_frame_is_not_sent(self) -> None:
        async def huge() -> str:
            return "x" * MAX_FRAME_BYTES

        async with Session(tools=[huge]) as session:
            with self.assertRaisesRegex(InvalidRequest, "larger than 67108864 bytes") as caught:
                await session.exec("/*" + "x" * MAX_FRAME_BYTES + "*/")
            self.assertEqual(caught.exception.side_effects, "none")
            result = await session.exec("try { await tools.huge() } catch (e) { text(e.message ?? e) }")
            self.assertIn("larger than 67108864 bytes", result.text)


class FindingTheHost(HostTestCase):
    """One sentence says what is wrong."""

    async def test_the_order_is_argument_variable_package_path(self) -> None:
        python = str(Path(sys.executable))
        folder = Path(self.enterContext(TemporaryDirectory()))
        program = folder / "bin" / "code_mode_host"
        program.parent.mkdir()
        program.write_text("")
        program.chmod(0o755)
        environment = {HOST_VARIABLE: python}
        self.assertEqual(find_host([python, "-V"], environment=environment, package_folder=folder), [python, "-V"])
        self.assertEqual(find_host(environment=environment, package_folder=folder), [python])
        self.assertEqual(find_host(environment={}, package_folder=folder), [str(program)])
        in_path = {"PATH": str(program.parent)}
        self.assertEqual(find_host(environment=in_path, package_folder=folder / "none"), [str(program)])

    async def test_a_missing_host_is_said_in_one_sentence(self) -> None:
        with self.assertRaisesRegex(HostNotFound, "that host= names cannot be run: /nowhere/x is no executable file"):
            find_host("/nowhere/x")
        with self.assertRaisesRegex(HostNotFound, "that CODE_MODE_HOST names cannot be run"):
            find_host(environment={HOST_VARIABLE: "/nowhere/x"})
        nowhere = {"environment": {"PATH": "/nowhere"}, "package_folder": Path("/nowhere")}
        with self.assertRaisesRegex(HostNotFound, "was not found: name it with host= or CODE_MODE_HOST"):
            find_host(**nowhere, platform_name="linux-x86_64")  # type: ignore[arg-type]
        with self.assertRaisesRegex(HostNotFound, "no code-mode host for darwin-arm64, only for linux-x86_64"):
            find_host(**nowhere, platform_name="darwin-arm64")  # type: ignore[arg-type]

    async def test_a_missing_host_fails_the_start(self) -> None:
        with self.assertRaises(HostNotFound):
            async with Session(host="/nowhere/x"):
                pass
