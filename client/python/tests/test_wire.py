# SPDX-License-Identifier: Apache-2.0
"""Frames and messages: the golden files of the protocol, and what is refused."""

from __future__ import annotations

import asyncio
import json
import unittest
from pathlib import Path
from typing import Any

from code_mode import CodeModeError, InvalidRequest, LimitError, ScriptError, Text, wire
from code_mode.bounds import MAX_FRAME_BYTES, MAX_STDERR_LINE_BYTES, MAX_STDERR_LINES
from code_mode.connection import GivenNumbers, milliseconds
from code_mode.errors import host_refusal, script_failure
from code_mode.gate import Gate
from code_mode.process import StderrTail
from code_mode.results import Image

GOLDEN = Path(__file__).parents[3] / "protocol" / "testdata" / "host"
ALL = frozenset(wire.CAPABILITIES)

UNOFFERED = {
    "ready-with-capabilities": "which was not offered",
    "output-read": "is no type of answer",
    "cells-listed": "is no type of answer",
}
"""What needs a capability that this client never offers, and why it is refused."""


class Messages(unittest.TestCase):
    """Reading what hosts say."""

    def test_every_golden_message_of_a_host_is_read(self) -> None:
        files = sorted(GOLDEN.glob("*.json"))
        self.assertGreater(len(files), 15)
        for path in files:
            with self.subTest(path=path.name):
                if path.stem in UNOFFERED:
                    with self.assertRaisesRegex(wire.WireError, UNOFFERED[path.stem]):
                        wire.decode(path.read_bytes(), ALL)
                else:
                    self.assertIsNotNone(wire.decode(path.read_bytes(), ALL))

    def test_every_object_of_a_golden_message_refuses_an_unknown_field(self) -> None:
        for path in sorted(GOLDEN.glob("*.json")):
            for changed in with_unknown_fields(json.loads(path.read_text())):
                with self.subTest(path=path.name, changed=changed), self.assertRaises(wire.WireError):
                    wire.decode(json.dumps(changed).encode(), ALL)

    def test_what_was_not_agreed_is_refused(self) -> None:
        for name in ("initial-error-details", "store-exported", "store-imported"):
            with self.subTest(name=name), self.assertRaises(wire.WireError):
                wire.decode((GOLDEN / f"{name}.json").read_bytes(), frozenset())

    def test_an_exec_with_globals_is_the_golden_one(self) -> None:
        fields = wire.execute_fields("call-1", [], "1", 0, None, None, "web")
        made = wire.request(2, "session/execute", "s1", request={**fields, "yield_time_ms": None})
        golden = (GOLDEN.parent / "client" / "session-execute-globals.json").read_bytes()
        self.assertEqual(wire.frame(made)[4:], golden.strip())
        unknown: Any = "dom"
        with self.assertRaisesRegex(InvalidRequest, "only contract and web"):
            wire.execute_fields("call-1", [], "1", 0, None, None, unknown)

    def test_lone_surrogates_become_replacement_characters(self) -> None:
        text = r'{"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":{"Result":{"cell_id":"1","content_items":[{"type":"input_text","text":"a\ud800b\ud83e\udd95\\ud800"}],"error_text":null}}}}'
        message = wire.decode(text.encode(), ALL)
        assert isinstance(message, wire.InitialResponse) and not isinstance(message.answer, wire.Failure)
        self.assertEqual(message.answer.items, (Text("a\ufffdb🦕\\ud800"),))

    def test_what_is_no_message_is_refused(self) -> None:
        for payload in [
            b"\xff",
            b"",
            b"[]",
            b"{}",
            b'{"type":"connection/ready","selectedVersion":2,"capabilities":[]}',
            b'{"type":"connection/ready","selectedVersion":1,"capabilities":["x"]}',
            b'{"type":"delegate/cancel","id":true}',
            b'{"type":"delegate/cancel","id":1.5}',
            b'{"type":"delegate/cancel","id":9223372036854775808}',
            b'{"type":"delegate/cancel","id":NaN}',
            b'{"type":"cell/closed","sessionId":"s","cellId":""}',
            b"[" * 100_000,
        ]:
            with self.subTest(payload=payload[:60]), self.assertRaises(wire.WireError):
                wire.decode(payload, ALL)

    def test_a_lone_surrogate_that_is_sent_is_an_escape(self) -> None:
        frame = wire.frame({"a": "\ud800ü"})
        self.assertEqual(frame[4:], b'{"a":"\\ud800\\u00fc"}')
        self.assertEqual(wire.frame({"a": "ü"})[4:], '{"a":"ü"}'.encode())

    def test_what_json_cannot_hold_is_not_sent(self) -> None:
        cycle: list[object] = []
        cycle.append(cycle)
        for value in (float("nan"), float("inf"), object(), cycle):
            with self.subTest(value=str(value)[:20]), self.assertRaises(InvalidRequest):
                wire.frame({"a": value})


def with_unknown_fields(value: wire.Json) -> list[wire.Json]:
    """The message with one more field in each object that is not somebody's raw JSON."""
    changed: list[wire.Json] = []
    if isinstance(value, dict):
        changed.append({**value, "no such field": 1})
        for key, item in value.items():
            if key not in ("input", "values"):
                changed += [{**value, key: inner} for inner in with_unknown_fields(item)]
    elif isinstance(value, list):
        for position, item in enumerate(value):
            changed += [[*value[:position], inner, *value[position + 1 :]] for inner in with_unknown_fields(item)]
    return changed


class Frames(unittest.TestCase):
    """Cutting bytes into payloads."""

    def test_frames_come_whole_from_any_pieces(self) -> None:
        data = b"".join(wire.frame({"n": number}) for number in range(20))
        for size in (1, 3, 7, len(data)):
            reader = wire.FrameReader()
            payloads = [each for at in range(0, len(data), size) for each in reader.feed(data[at : at + size])]
            self.assertEqual([json.loads(each)["n"] for each in payloads], list(range(20)))
            self.assertFalse(reader.is_within_frame)

    def test_a_length_over_the_cap_is_refused_before_its_bytes_come(self) -> None:
        reader = wire.FrameReader()
        self.assertEqual(reader.feed(MAX_FRAME_BYTES.to_bytes(4, "little")), [])
        self.assertTrue(reader.is_within_frame)
        with self.assertRaisesRegex(wire.WireError, "67108865"):
            wire.FrameReader().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "little"))


class Pieces(unittest.IsolatedAsyncioTestCase):
    """The small parts."""

    async def test_a_gate_lets_callers_in_in_order_and_one_that_is_too_large_alone(self) -> None:
        gate = Gate(10)
        await gate.enter(6)
        order: list[int] = []

        async def enter(amount: int) -> None:
            await gate.enter(amount)
            order.append(amount)

        tasks = [asyncio.create_task(enter(amount)) for amount in (20, 5, 4)]
        await asyncio.sleep(0)
        self.assertEqual(order, [])
        gate.leave(6)
        await tasks[0]
        self.assertEqual(order, [20])
        gate.leave(20)
        await asyncio.gather(*tasks)
        self.assertEqual(order, [20, 5, 4])
        self.assertEqual(gate.inside, 9)

    async def test_a_caller_that_goes_away_holds_nothing_up(self) -> None:
        gate = Gate(1)
        await gate.enter()
        first, second = asyncio.create_task(gate.enter()), asyncio.create_task(gate.enter())
        await asyncio.sleep(0)
        first.cancel()
        gate.leave()
        await second
        self.assertEqual(gate.inside, 1)
        gate.fail(RuntimeError("over"))
        with self.assertRaisesRegex(RuntimeError, "over"):
            await gate.enter()

    async def test_the_tail_of_standard_error_is_bounded(self) -> None:
        tail = StderrTail()
        for number in range(MAX_STDERR_LINES + 3):
            tail.feed(f"line {number}\n".encode())
        self.assertEqual(tail.text().splitlines()[0], "line 3")
        for _ in range(10):
            tail.feed(b"x" * MAX_STDERR_LINE_BYTES)
        tail.feed(b"\nlast")
        lines = tail.text().splitlines()
        self.assertEqual(len(lines[-2]), MAX_STDERR_LINE_BYTES + 1)
        self.assertEqual(lines[-1], "last")

    async def test_numbers_are_remembered_in_any_order(self) -> None:
        given = GivenNumbers()
        self.assertTrue(all(given.add(number) for number in (2, 1, 5, 3)))
        self.assertFalse(any(given.add(number) for number in (1, 2, 3, 5)))
        self.assertNotIn(4, given)

    async def test_times_are_rounded_up(self) -> None:
        self.assertEqual([milliseconds(seconds) for seconds in (0, 0.0001, 0.0015, 2)], [0, 1, 2, 2000])
        with self.assertRaises(InvalidRequest):
            milliseconds(-1)

    async def test_error_texts_are_taken_apart(self) -> None:
        error = script_failure(
            "TypeError: tools.x is not a function\n    at f (exec_main.mjs:2:8)\n    at exec_main.mjs:4:10\nHint: tools.y"
        )
        assert isinstance(error, ScriptError)
        self.assertEqual((error.name, error.message), ("TypeError", "TypeError: tools.x is not a function"))
        self.assertEqual((error.line, error.column, error.hint), (2, 8, "tools.y"))
        self.assertEqual(error.stack, "    at f (exec_main.mjs:2:8)\n    at exec_main.mjs:4:10")
        thrown = script_failure("just so")
        assert isinstance(thrown, ScriptError)
        self.assertEqual((thrown.name, thrown.message, thrown.line, thrown.stack), (None, "just so", None, None))
        limit = script_failure("LimitError: the limit of 3 output items is reached; the cell was ended")
        assert isinstance(limit, LimitError)
        self.assertEqual((limit.limit, limit.maximum, limit.side_effects), ("output items", 3, "possible"))

    async def test_each_code_of_a_host_has_its_class(self) -> None:
        def name(code: str | None, message: str = "m") -> tuple[str, str]:
            error: CodeModeError = host_refusal(message, code, None, "none", "1")
            return type(error).__name__, error.side_effects

        self.assertEqual(name("missing-cell"), ("MissingCell", "none"))
        self.assertEqual(name("cell-finished"), ("CellFinished", "possible"))
        self.assertEqual(name("busy-observer"), ("BusyObserver", "possible"))
        self.assertEqual(name("shut-down"), ("SessionClosed", "none"))
        self.assertEqual(name("invalid-request"), ("InvalidRequest", "none"))
        self.assertEqual(
            name("limit/active-cells", "the limit of 128 active cells is reached: 1"), ("LimitError", "none")
        )
        self.assertEqual(name("something-new"), ("Refused", "none"))
        self.assertEqual(name(None), ("Refused", "none"))

    async def test_images_are_bytes(self) -> None:
        image = Image("data:image/png;base64,AAEC", "high")
        self.assertEqual((image.mime_type, image.data), ("image/png", b"\x00\x01\x02"))
        self.assertEqual(Image("data:image/png;base64,AA").data, b"\x00")
        self.assertEqual(Image("data:text/plain,a%20b").data, b"a b")
        for url in ("https://example.com/a.png", "data:image/png;base64,?!"):
            with self.assertRaises(ValueError):
                Image(url).data
