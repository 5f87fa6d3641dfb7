# SPDX-License-Identifier: Apache-2.0
"""The cases of runtime/api/testsuite/cases, played on a real host. Their README describes the format."""

from __future__ import annotations

import asyncio
import json
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from code_mode import Cell, CellResponse, CodeModeError, Image, LimitError, Limits, Session, Text, Tool, ToolCall, ToolError, wire
from code_mode.connection import Connection

from .support import PATIENCE, is_ours

CASES = Path(__file__).parents[3] / "runtime" / "api" / "testsuite" / "cases"
Json = Any

STEP_ACTIONS = {
    "run", "start", "first", "wait", "terminate", "until", "open_gate", "shutdown", "export_store", "import_store",
    "calls", "notifications", "tool_ids", "gathered",
}  # fmt: skip
STEP_DETAILS = {"hosts", "cell", "yield_time_ms", "limits", "id", "items", "status", "error", "refused"}


class Seen:
    """What the host has asked for and said about tools and cells, in its order."""

    def __init__(self) -> None:
        self.calls: list[Json] = []
        self._news = asyncio.Condition()
        self._cell_calls: dict[int, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def note(self, message: object) -> None:
        """Takes a message of the host in."""
        if isinstance(message, wire.ToolInvoke):
            self._cell_calls[message.id] = message.call_id
            call = {"id": message.call_id, "name": message.name, "namespace": message.namespace, "input": message.input}
            self.calls.append({"tool": call})
        elif isinstance(message, wire.NotificationSend):
            self.calls.append({"notification": message.text})
        elif isinstance(message, wire.DelegateCancel):
            if message.id in self._cell_calls:
                self.calls.append({"cancelled": self._cell_calls[message.id]})
        elif isinstance(message, wire.CellClosed):
            self.calls.append({"closed": message.cell_id})
        else:
            return
        task = asyncio.get_running_loop().create_task(self._notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait_for(self, wanted: Json) -> None:
        """Waits until something like this was seen."""
        async with self._news:
            await self._news.wait_for(lambda: any(is_seen(call, wanted) for call in self.calls))

    def sorted(self) -> list[Json]:
        """All calls, with cancellations that stand together by their ids."""
        result: list[Json] = []
        together: list[Json] = []
        for call in [*self.calls, None]:
            if call is not None and "cancelled" in call:
                together.append(call)
            else:
                result += [*sorted(together, key=lambda each: str(each["cancelled"])), call]
                together = []
        return result[:-1]

    async def _notify(self) -> None:
        async with self._news:
            self._news.notify_all()


def is_seen(call: Json, wanted: Json) -> bool:
    """Whether a call is what a step means; a tool may be told by its name alone."""
    if "tool" in call and isinstance(wanted.get("tool"), str):
        return bool(call["tool"]["name"] == wanted["tool"])
    return bool(call == wanted)


def matches(pattern: Json, text: str) -> bool:
    """Whether a text is the pattern's."""
    if isinstance(pattern, str):
        return text == pattern
    unknown = set(pattern) - {"starts", "contains", "hint"}
    assert not unknown, f"patterns know no {unknown}"
    _, _, hint = text.partition("\nHint: ")
    return (
        text.startswith(pattern.get("starts", ""))
        and all(part in text for part in pattern.get("contains", []))
        and pattern.get("hint", "") in hint
    )


def item_matches(expected: Json, item: object) -> bool:
    """Whether an output item is what a step says."""
    if isinstance(item, Text):
        return ("image" not in expected or isinstance(expected, str)) and matches(expected, item.text)
    return isinstance(item, Image) and expected == {"image": item.url, "detail": item.detail}


class Player:
    """A session in which a case is played."""

    def __init__(self, test: unittest.TestCase, case: Json) -> None:
        self.test = test
        self.case = case
        self.seen = Seen()
        self.gate = asyncio.Semaphore(0)
        standard = json.loads((CASES / "standard_tools.json").read_text())["tools"]
        self.session = Session([self.tool(each) for each in case.get("tools", standard)])
        self.cells: dict[str, Cell] = {}
        self.firsts: dict[str, asyncio.Task[CellResponse]] = {}
        self.gathered: dict[str, list[object]] = {}

    def tool(self, spec: Json) -> Tool:
        """A tool with its scripted answer."""
        answer = spec["answer"]

        async def handler(input: Json, call: ToolCall) -> Json:
            if answer == "never":
                await asyncio.Event().wait()
            elif answer == "gate":
                await self.gate.acquire()
            elif isinstance(answer, dict) and "error" in answer:
                raise ToolError(answer["error"])
            elif isinstance(answer, dict):
                return answer["value"]
            else:
                assert answer == "input", answer
            return input

        return Tool(spec["name"], spec["description"], handler, namespace=spec.get("namespace"))

    async def play(self) -> None:
        """Plays every step that holds for this host."""
        handle = Connection._handle

        def noting(connection: Connection, message: wire.HostMessage, size: int) -> None:
            handle(connection, message, size)
            self.seen.note(message)

        with patch.object(Connection, "_handle", noting):
            async with self.session:
                ours = await is_ours(self.session)
                if self.case.get("hosts") == "ours" and not ours:
                    self.test.skipTest("holds for our host only")
                for number, step in enumerate(self.case["steps"], 1):
                    if step.get("hosts") != "ours" or ours:
                        with self.test.subTest(step=number):
                            await asyncio.wait_for(self.step(step), PATIENCE)

    async def step(self, step: Json) -> None:
        """Does one step."""
        (action,) = set(step) - STEP_DETAILS
        assert action in STEP_ACTIONS, action
        subject = step[action]
        if action == "run":
            await self.check(step, step.get("cell"), self.run_source(step, subject))
        elif action == "start":
            cell = self.cells[step["cell"]] = await self.session.start(text_of(subject), **self.options(step))
            self.gathered[step["cell"]] = []
            self.firsts[step["cell"]] = asyncio.create_task(cell.wait())
            await asyncio.sleep(0)
        elif action == "first":
            await self.check(step, subject, self.firsts.pop(subject))
        elif action == "wait":
            seconds = step["yield_time_ms"] / 1000 if "yield_time_ms" in step else PATIENCE
            if isinstance(subject, str):
                await self.check(step, subject, self.cells[subject].wait(seconds))
            else:
                await self.check(step, None, self.session.wait(subject["id"], seconds))
        elif action == "terminate":
            if isinstance(subject, str):
                await self.check(step, subject, self.cells[subject].terminate())
            else:
                await self.check(step, None, self.session.terminate(subject["id"]))
        elif action == "until":
            await self.seen.wait_for(subject)
        elif action == "open_gate":
            self.gate.release()
        elif action == "shutdown":
            await self.session.close()
        elif action == "export_store":
            if (values := await self.unless_refused(step, self.session.export_store())) is not None:
                self.test.assertEqual(values, subject)
        elif action == "import_store":
            await self.unless_refused(step, self.session.import_store(subject))
        elif action == "calls":
            calls = self.seen.sorted()
            self.test.assertEqual(calls, subject)
        elif action == "notifications":
            self.test.assertEqual([call["notification"] for call in self.seen.calls if "notification" in call], subject)
        elif action == "tool_ids":
            self.test.assertEqual([call["tool"]["id"] for call in self.seen.calls if "tool" in call], subject)
        else:
            self.check_items(step, self.gathered[subject])

    def options(self, step: Json) -> dict[str, Any]:
        """What a script is started with."""
        seconds = step["yield_time_ms"] / 1000 if "yield_time_ms" in step else PATIENCE
        return {"yield_time": seconds, "limits": Limits(**step["limits"]) if "limits" in step else None}

    async def run_source(self, step: Json, source: Json) -> CellResponse:
        """Runs a script to its first response."""
        cell = await self.session.start(text_of(source), **self.options(step))
        if "cell" in step:
            self.cells[step["cell"]] = cell
            self.gathered[step["cell"]] = []
        return await cell.wait()

    async def unless_refused(self, step: Json, operation: Any) -> Any:
        """What an operation gives; None when it was refused as the step says."""
        try:
            value = await operation
        except CodeModeError as error:
            refused = step.get("refused")
            if refused is None:
                raise
            if isinstance(refused, str):
                self.test.assertEqual(error.code, refused)
            else:
                self.test.assertTrue(matches(refused, str(error)), str(error))
            return None
        self.test.assertNotIn("refused", step, f"it was not refused but gave {value}")
        return value

    async def check(self, step: Json, name: str | None, operation: Any) -> None:
        """Compares a response with what the step says of it."""
        response = await self.unless_refused(step, operation)
        if response is None:
            return
        if name is not None:
            self.gathered[name] += response.items
        if "id" in step:
            self.test.assertEqual(response.cell_id, step["id"])
        self.test.assertEqual(response.status, step.get("status", "completed"), response)
        error = response.error
        text = None if error is None else str(error) if isinstance(error, LimitError) else error.error_text
        if "error" in step:
            self.test.assertTrue(text is not None and matches(step["error"], text), text)
        else:
            self.test.assertIsNone(text)
        self.check_items(step, response.items)

    def check_items(self, step: Json, items: Any) -> None:
        """Compares output."""
        if "items" in step:
            same = len(items) == len(step["items"]) and all(map(item_matches, step["items"], items))
            self.test.assertTrue(same, f"{items} is not {step['items']}")


def text_of(source: Json) -> str:
    """A script, in one piece or in lines."""
    return source if isinstance(source, str) else "\n".join(source)


def files() -> list[Path]:
    """Every file of cases."""
    return sorted(path for path in CASES.glob("*.json") if path.name != "standard_tools.json")


class SharedCases(unittest.IsolatedAsyncioTestCase):
    """One test for each case."""


def _method(case: Json) -> Callable[[SharedCases], Any]:
    async def play(self: SharedCases) -> None:
        await Player(self, case).play()

    play.__doc__ = case["says"]
    return play


for _path in files():
    for _case in json.loads(_path.read_text())["cases"]:
        setattr(SharedCases, f"test_{_case['name']}", _method(_case))


class CaseFiles(unittest.TestCase):
    """The files as such."""

    def test_every_case_became_a_test(self) -> None:
        names = [case["name"] for path in files() for case in json.loads(path.read_text())["cases"]]
        tests = [name for name in dir(SharedCases) if name.startswith("test_")]
        self.assertGreaterEqual(len(names), 54)
        self.assertEqual(len(tests), len(names))
