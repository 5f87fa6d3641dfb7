# SPDX-License-Identifier: Apache-2.0
"""Tools: functions that scripts can call."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace as _replace
from typing import Any, Literal, overload

from .schema import Parameters, parameters_of, schema_of, to_json
from .wire import Json

ToolKind = Literal["function", "freeform"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool by a script: what a policy decides about, and what an event shows."""

    cell_id: str
    """The cell that calls."""
    call_id: str
    """The call's id in its cell: `tool-1`, `tool-2`, …"""
    exec_call_id: str
    """The caller's own id of the exec that the call belongs to."""
    name: str
    """The tool's own name."""
    namespace: str | None
    """The tool's namespace, if it has one."""
    input: Json
    """The input, as JSON gave it."""


@dataclass(frozen=True, slots=True)
class Allow:
    """The call goes on. With an `input`, the tool gets that in place of the script's."""

    input: Json = ...
    """`...` leaves the input as it is."""


@dataclass(frozen=True, slots=True)
class Deny:
    """The call is refused, and the script is told why."""

    reason: str


Decision = Allow | Deny
Policy = Callable[[ToolCall], Decision | Awaitable[Decision]]
"""Decides about every nested call, of tools that do not exist as well, before anything is run."""


@dataclass(frozen=True)
class Tool:
    """A tool as scripts see it, and the function behind it.

    A function without parameters of its own declaration can be given as `handler`: it gets the input as JSON gave it
    and the call, and answers with what JSON can hold. `tool` makes a Tool from a plain function.
    """

    name: str
    description: str
    handler: Callable[[Json, ToolCall], Any]
    input_schema: Mapping[str, Json] | None = None
    output_schema: Mapping[str, Json] | None = None
    namespace: str | None = None
    kind: ToolKind = "function"
    definition: dict[str, Json] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name:
            raise TypeError("a tool needs a name")
        self.definition.update(
            name=self.name,
            tool_name={"name": self.name, "namespace": self.namespace},
            description=self.description,
            kind=self.kind,
            input_schema=None if self.input_schema is None else dict(self.input_schema),
            output_schema=None if self.output_schema is None else dict(self.output_schema),
        )

    async def call(self, input: Json, call: ToolCall) -> Json:
        """Runs the tool. A plain function runs in a thread, so that it may block."""
        if inspect.iscoroutinefunction(self.handler):
            result = await self.handler(input, call)
        else:
            result = await asyncio.to_thread(self.handler, input, call)
            if inspect.isawaitable(result):
                result = await result
        return to_json(result)


class _Bound:
    """A handler that gives a function its arguments by name."""

    def __init__(self, function: Callable[..., Any], parameters: Parameters) -> None:
        self._function = function
        self._parameters = parameters

    def __call__(self, input: Json, call: ToolCall) -> Any:
        return self._function(**self._parameters.arguments(input, call))


class _BoundAsync(_Bound):
    async def __call__(self, input: Json, call: ToolCall) -> Any:
        return await self._function(**self._parameters.arguments(input, call))


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...


@overload
def tool(
    *, name: str | None = None, description: str | None = None, namespace: str | None = None
) -> Callable[[Callable[..., Any]], Tool]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    namespace: str | None = None,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Makes a tool of a function: its parameters are the members of the input, its docstring the description.

    Use it as a decorator, with or without arguments; `Session(tools=[function])` does it by itself. A parameter
    annotated with `ToolCall` gets the call. Raises TypeError for an annotation that has no JSON schema.
    """
    if function is None:
        return lambda decorated: _make(decorated, name, description, namespace)
    return _make(function, name, description, namespace)


def _make(function: Callable[..., Any], name: str | None, description: str | None, namespace: str | None) -> Tool:
    given = name or getattr(function, "__name__", "")
    if not given or given == "<lambda>":
        raise TypeError("a tool needs a name: give it with tool(name=...)")
    parameters = parameters_of(function, ToolCall)
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)
    )
    bound: Callable[[Json, ToolCall], Any]
    # `iscoroutinefunction` looks at functions, so the instances are handed on by their methods.
    bound = _BoundAsync(function, parameters).__call__ if is_async else _Bound(function, parameters).__call__
    returned = parameters.returned
    return Tool(
        name=given,
        description=description if description is not None else (inspect.getdoc(function) or ""),
        handler=bound,
        input_schema=parameters.schema,
        output_schema=None if returned is None else schema_of(returned, f"the result of {given}"),
        namespace=namespace,
    )


def as_tool(given: Tool | Callable[..., Any], namespace: str | None = None) -> Tool:
    """The tool itself, or one made of a function."""
    made = given if isinstance(given, Tool) else tool(given)
    return _replace(made, namespace=namespace) if namespace is not None and made.namespace is None else made
