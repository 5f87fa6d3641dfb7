# SPDX-License-Identifier: Apache-2.0
"""Tools from functions, their schemas, and the policy before them."""

from __future__ import annotations

import enum
import threading
import unittest
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict

from code_mode import (
    Allow,
    Decision,
    Deny,
    InputError,
    InvalidRequest,
    ScriptError,
    Session,
    Tool,
    ToolCall,
    ToolCalled,
    ToolError,
    schema_of,
    tool,
)
from code_mode.schema import build, to_json

from .support import HostTestCase


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    """A place."""

    x: float
    y: float = 0.0


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


class Options(TypedDict):
    path: str
    deep: NotRequired[bool]


MESSAGE = "try { await tools.NAME(INPUT); text('no error') } catch (e) { text(e.message ?? e) }"


class Schemas(unittest.TestCase):
    """Each annotation gives a schema, and makes Python values of JSON that fits it."""

    def test_each_annotation_has_its_schema(self) -> None:
        point = {
            "type": "object",
            "properties": {"x": {"type": "number"}, "y": {"type": "number", "default": 0.0}},
            "required": ["x"],
            "additionalProperties": False,
        }
        annotation: Any
        for annotation, schema in [
            (str, {"type": "string"}),
            (int, {"type": "integer"}),
            (float, {"type": "number"}),
            (bool, {"type": "boolean"}),
            (None, {"type": "null"}),
            (Any, {}),
            (list[int], {"type": "array", "items": {"type": "integer"}}),
            (list, {"type": "array", "items": {}}),
            (set[str], {"type": "array", "items": {"type": "string"}, "uniqueItems": True}),
            (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
            (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
            (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
            (Literal["a", 1], {"enum": ["a", 1]}),
            (Colour, {"type": "string", "enum": ["red", "blue"]}),
            (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
            (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
            (Annotated[int, "how many"], {"type": "integer", "description": "how many"}),
            (Annotated[int, {"minimum": 1}], {"type": "integer", "minimum": 1}),
            (Point, point),
        ]:
            with self.subTest(annotation=annotation):
                self.assertEqual(schema_of(annotation), schema)

    def test_records_say_what_they_need(self) -> None:
        schema = schema_of(Options)
        self.assertEqual(schema["required"], ["path"])
        self.assertEqual(schema["properties"]["deep"], {"type": "boolean"})
        pair = schema_of(tuple[int, str])
        self.assertEqual(pair["prefixItems"], [{"type": "integer"}, {"type": "string"}])

    def test_a_type_that_contains_itself_is_a_definition(self) -> None:
        schema = schema_of(Tree)
        self.assertEqual(schema["$ref"], "#/$defs/Tree")
        self.assertEqual(schema["$defs"]["Tree"]["properties"]["children"]["items"], {"$ref": "#/$defs/Tree"})

    def test_what_has_no_schema_is_refused_with_its_place(self) -> None:
        def handle(thing: object, socket: threading.Thread) -> None: ...

        with self.assertRaisesRegex(TypeError, "the parameter socket of handle.*Thread.*has no JSON schema"):
            tool(handle)

        def positional(a: int, /) -> None: ...

        with self.assertRaisesRegex(TypeError, "the parameter a cannot be given by name"):
            tool(positional)
        with self.assertRaisesRegex(TypeError, "the keys of a JSON object are strings"):
            schema_of(dict[int, str])

    def test_values_are_built_by_their_annotations(self) -> None:
        annotation: Any
        for annotation, value, expected in [
            (int, 5.0, 5),
            (float, 5, 5.0),
            (Point, {"x": 1}, Point(1.0)),
            (Tree, {"value": 1, "children": [{"value": 2}]}, Tree(1, [Tree(2)])),
            (Colour, "red", Colour.RED),
            (set[int], [1, 1], {1}),
            (tuple[int, str], [1, "a"], (1, "a")),
            (dict[str, Point], {"a": {"x": 1}}, {"a": Point(1.0)}),
            (Optional[Point], None, None),
            (Options, {"path": "/"}, {"path": "/"}),
            (int | str, "a", "a"),
        ]:
            with self.subTest(annotation=annotation):
                self.assertEqual(build(annotation, value, "it"), expected)

    def test_values_that_do_not_fit_are_refused_with_their_place(self) -> None:
        annotation: Any
        for annotation, value, words in [
            (int, "5", "it must be an integer, not a string"),
            (int, True, "it must be an integer, not a boolean"),
            (int, 5.5, "it must be an integer, not the number 5.5"),
            (list[int], [1, None], r"it\[1\] must be an integer, not null"),
            (Point, {"x": 1, "z": 2}, "it has no member 'z'; it has: x, y"),
            (Point, {}, "it needs the member 'x'"),
            (Tree, {"value": 1, "children": [{"value": "a"}]}, r"it.children\[0\].value must be an integer"),
            (Literal["a", "b"], "c", "it must be one of 'a', 'b', not 'c'"),
            (Literal[1], True, "it must be one of 1, not True"),
            (int | str, [], "it fits none of its types: it must be an integer.*it must be a string"),
        ]:
            with self.subTest(annotation=annotation), self.assertRaisesRegex(InputError, words):
                build(annotation, value, "it")

    def test_results_become_json(self) -> None:
        self.assertEqual(to_json({"a": [Point(1.0), (Colour.RED, None)]}), {"a": [{"x": 1.0, "y": 0.0}, ["red", None]]})
        for value in (b"bytes", object(), {1: 2}):
            with self.assertRaises(TypeError):
                to_json(value)


class ToolsOfFunctions(HostTestCase):
    """Scripts call Python functions."""

    async def test_a_function_becomes_a_tool(self) -> None:
        async def move(to: Point, colour: Colour = Colour.RED, *, by: list[int] | None = None) -> Point:
            """Moves something.

            And says where it is.
            """
            self.assertIsInstance(to, Point)
            self.assertIs(colour, Colour.BLUE)
            return Point(to.x + sum(by or []), to.y)

        made = tool(move)
        self.assertEqual(made.name, "move")
        self.assertEqual(made.description, "Moves something.\n\nAnd says where it is.")
        assert made.input_schema is not None and made.output_schema is not None
        self.assertEqual(made.input_schema["required"], ["to"])
        self.assertEqual(made.input_schema["properties"]["colour"]["default"], "red")
        self.assertEqual(made.output_schema["required"], ["x"])
        async with Session(tools=[move]) as session:
            result = await session.exec("text(await tools.move({ to: { x: 1 }, colour: 'blue', by: [1, 2] }))")
        self.assertEqual(result.text, '{"x":4,"y":0}')

    async def test_a_plain_function_may_block(self) -> None:
        both = threading.Barrier(2)

        def meet() -> str:
            both.wait(30)
            return threading.current_thread().name

        async with Session(tools=[meet]) as session:
            result = await session.exec("text((await Promise.all([tools.meet(), tools.meet()])).length)")
            self.assertEqual(result.text, "2")

    async def test_names_namespaces_and_handlers_can_be_given(self) -> None:
        @tool(name="read-file", description="Reads.", namespace="fs")
        def read(path: str) -> str:
            return f"text of {path}"

        def raw(input: Any, call: ToolCall) -> Any:
            return [input, call.call_id, call.exec_call_id, call.namespace]

        async with Session(tools=[read, Tool("raw", "Anything.", raw)], namespace="mine") as session:
            result = await session.exec(
                "text(await tools.read_file({ path: 'a' })); text(await tools.raw(5)); text(ALL_TOOLS.length)",
                call_id="mine-1",
            )
        self.assertEqual(result.texts, ["text of a", '[5,"tool-2","mine-1","mine"]', "2"])

    async def test_a_tool_that_fails_is_an_error_of_the_script(self) -> None:
        def broken() -> None:
            raise ToolError("on purpose")

        def silent() -> None:
            raise KeyError

        def unfit() -> bytes:
            return b"bytes"

        async with Session(tools=[broken, silent, Tool("unfit", "", lambda input, call: unfit())]) as session:
            for name, input, words in [
                ("broken", "", "on purpose"),
                ("silent", "", "KeyError"),
                ("unfit", "", "JSON cannot hold a bytes"),
                ("broken", "{ a: 1 }", "broken has no parameter 'a'; it has: none"),
                ("broken", "5", "the input of broken must be an object, not the number 5"),
            ]:
                with self.subTest(words=words):
                    source = MESSAGE.replace("NAME", name).replace("INPUT", input)
                    self.assertEqual((await session.exec(source)).text, words)
            with self.assertRaisesRegex(ScriptError, "on purpose"):
                await session.exec("await tools.broken()")

    async def test_the_call_is_given_to_who_asks_for_it(self) -> None:
        async def who(call: ToolCall, **others: int) -> str:
            return f"{call.name} {call.cell_id} {others}"

        async with Session(tools=[who]) as session:
            self.assertEqual((await session.exec("text(await tools.who({ a: 1 }))")).text, "who 1 {'a': 1}")

    async def test_two_tools_of_one_name_are_refused(self) -> None:
        def same() -> None: ...

        with self.assertRaisesRegex(TypeError, "two tools same"):
            Session(tools=[same, same])
        with self.assertRaisesRegex(TypeError, "a tool needs a name"):
            Session(tools=[lambda: None])


class Policies(HostTestCase):
    """The policy is asked before every call."""

    async def test_it_allows_denies_and_replaces(self) -> None:
        asked: list[ToolCall] = []

        async def policy(call: ToolCall) -> Decision:
            asked.append(call)
            if call.input == {"path": "/etc"}:
                return Deny("not that one")
            return Allow({"path": "/safe"}) if call.input == {"path": "/other"} else Allow()

        def read(path: str) -> str:
            return path

        async with Session(tools=[read], policy=policy) as session:
            result = await session.exec(
                """
                text(await tools.read({ path: '/a' })); text(await tools.read({ path: '/other' }));
                try { await tools.read({ path: '/etc' }) } catch (e) { text(e.message ?? e) }
                """,
                call_id="call-7",
            )
        self.assertEqual(result.texts, ["/a", "/safe", "not that one"])
        self.assertEqual([(call.name, call.call_id, call.exec_call_id) for call in asked][2], ("read", "tool-3", "call-7"))

    async def test_a_policy_that_fails_or_decides_nothing_denies(self) -> None:
        def run() -> None:
            raise AssertionError("it was called")

        def fails(call: ToolCall) -> Decision:
            raise RuntimeError("no rule")

        source = MESSAGE.replace("NAME", "run").replace("INPUT", "")
        undecided: Any = lambda call: None
        for policy, words in [(fails, "the policy failed: no rule"), (undecided, "the policy gave no decision")]:
            async with Session(tools=[run], policy=policy) as session:
                self.assertEqual((await session.exec(source)).text, words)

    async def test_events_show_calls_and_their_order(self) -> None:
        def echo(value: int) -> int:
            return value

        async with Session(tools=[echo]) as session:
            async with session.start(
                "text(1); notify('n'); await tools.echo({ value: 1 }); yield_control(); text(2)"
            ) as cell:
                events = [event async for event in cell]
            names = [type(event).__name__ for event in events]
            self.assertEqual(names, ["Notification", "ToolCalled", "Output", "Yielded", "Output", "Ended"])
            assert isinstance(events[1], ToolCalled)
            self.assertEqual(events[1].call.input, {"value": 1})
            self.assertEqual((await cell.result()).texts, ["1", "2"])


class WebGlobals(HostTestCase):
    """A session and an exec choose the globals of scripts."""

    async def test_an_exec_goes_before_its_session(self) -> None:
        async with Session(globals="web") as session:
            if "code_mode/globals-v1" not in session.capabilities:
                with self.assertRaisesRegex(InvalidRequest, "code_mode/globals-v1"):
                    await session.exec("1")
                return
            source = "text(typeof URL)"
            self.assertEqual((await session.exec(source)).text, "function")
            self.assertEqual((await session.exec(source, globals="contract")).text, "undefined")
            async with session.start(source, globals="web") as cell:
                self.assertEqual((await cell.result()).text, "function")
