# SPDX-License-Identifier: Apache-2.0
"""JSON schemas from annotations, and Python values from JSON by the same annotations."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints

Json = Any


class InputError(ValueError):
    """A tool's input does not fit its annotations; the script hears the message."""


@dataclass
class Parameters:
    """The parameters of a tool's function."""

    schema: dict[str, Json]
    """The schema of the input object."""
    returned: Any
    """The annotation of the result; None when there is none."""
    name: str
    types: dict[str, Any] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    call_parameter: str | None = None
    takes_others: bool = False

    def arguments(self, input: Json, call: object) -> dict[str, Any]:
        """The arguments for one input. Raises InputError."""
        if input is None:
            # A script that calls a tool without an argument sends null.
            input = {}
        if not isinstance(input, dict):
            raise InputError(f"the input of {self.name} must be an object, not {_kind(input)}")
        arguments: dict[str, Any] = {}
        for name, value in input.items():
            if name in self.types:
                arguments[name] = build(self.types[name], value, name)
            elif self.takes_others and name != self.call_parameter:
                arguments[name] = value
            else:
                known = ", ".join(self.types) or "none"
                raise InputError(f"{self.name} has no parameter {name!r}; it has: {known}")
        for name in self.required:
            if name not in arguments:
                raise InputError(f"{self.name} needs the parameter {name!r}")
        if self.call_parameter is not None:
            arguments[self.call_parameter] = call
        return arguments


def parameters_of(function: Callable[..., Any], call_type: type) -> Parameters:
    """Reads the signature of a function. Raises TypeError for what has no JSON schema."""
    name = getattr(function, "__name__", type(function).__name__)
    signature = inspect.signature(function)
    annotated = function if inspect.isroutine(function) else type(function).__call__
    hints = get_type_hints(annotated, include_extras=True)
    returned = hints.get("return")
    result = Parameters(schema={}, returned=returned, name=name)
    properties: dict[str, Json] = {}
    writer = _Writer()
    for parameter in signature.parameters.values():
        hint = hints.get(parameter.name, Any)
        if parameter.kind is parameter.VAR_KEYWORD:
            result.takes_others = True
        elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise TypeError(f"Failed to make a tool of {name}: the parameter {parameter.name} cannot be given by name")
        elif hint is call_type:
            result.call_parameter = parameter.name
        else:
            schema = writer.schema(hint, f"the parameter {parameter.name} of {name}")
            if parameter.default is parameter.empty:
                result.required.append(parameter.name)
            else:
                schema = _with_default(schema, parameter.default)
            properties[parameter.name] = schema
            result.types[parameter.name] = hint
    result.schema = writer.finish(_object(properties, result.required, result.takes_others))
    return result


def schema_of(annotation: Any, where: str = "the annotation") -> dict[str, Json]:
    """The JSON schema of an annotation. Raises TypeError for one that has none."""
    writer = _Writer()
    return writer.finish(writer.schema(annotation, where))


def _object(properties: Mapping[str, Json], required: Sequence[str], others: bool = False) -> dict[str, Json]:
    schema: dict[str, Json] = {"type": "object", "properties": dict(properties)}
    if required:
        schema["required"] = list(required)
    schema["additionalProperties"] = others
    return schema


def _with_default(schema: dict[str, Json], default: Any) -> dict[str, Json]:
    try:
        return {**schema, "default": to_json(default)}
    except TypeError:
        # A default that JSON cannot hold is still a default; only the schema cannot show it.
        return schema


_SCALARS: dict[Any, dict[str, Json]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    None: {"type": "null"},
    type(None): {"type": "null"},
}


def _scalar(annotation: Any) -> dict[str, Json] | None:
    try:
        return _SCALARS.get(annotation)
    except TypeError:
        # Annotations with a mapping in them cannot be hashed.
        return None


_LISTS = (list, Sequence, collections.abc.Iterable, collections.abc.Collection, set, frozenset)
_MAPS = (dict, Mapping, collections.abc.MutableMapping)


class _Writer:
    """Writes schemas; a type that contains itself goes to `$defs`."""

    def __init__(self) -> None:
        self._open: list[Any] = []
        self._recursive: dict[Any, str] = {}
        self._definitions: dict[str, Json] = {}

    def finish(self, schema: dict[str, Json]) -> dict[str, Json]:
        """The schema with its definitions."""
        return {**schema, "$defs": dict(self._definitions)} if self._definitions else schema

    def schema(self, annotation: Any, where: str) -> dict[str, Json]:
        """The schema of one annotation."""
        if annotation is Any or annotation is object or annotation is inspect.Parameter.empty:
            return {}
        if (scalar := _scalar(annotation)) is not None:
            return dict(scalar)
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            inner = self.schema(arguments[0], where)
            texts = [extra for extra in arguments[1:] if isinstance(extra, str)]
            members = [extra for extra in arguments[1:] if isinstance(extra, Mapping)]
            for extra in members:
                inner.update(extra)
            return {**inner, "description": texts[0]} if texts else inner
        if origin in (Required, NotRequired):
            return self.schema(arguments[0], where)
        if origin is Literal:
            return self._enumeration(arguments)
        if origin in (Union, types.UnionType):
            return self._union(arguments, where)
        if origin is tuple or annotation is tuple:
            return self._tuple(arguments, where)
        if (origin or annotation) in _LISTS:
            items = self.schema(arguments[0], where) if arguments else {}
            schema: dict[str, Json] = {"type": "array", "items": items}
            return {**schema, "uniqueItems": True} if (origin or annotation) in (set, frozenset) else schema
        if (origin or annotation) in _MAPS:
            if arguments and arguments[0] is not str:
                raise TypeError(f"Failed to make a schema of {where}: the keys of a JSON object are strings")
            return {"type": "object", "additionalProperties": self.schema(arguments[1], where) if arguments else {}}
        if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
            return self._enumeration([member.value for member in annotation])
        if dataclasses.is_dataclass(annotation) or typing.is_typeddict(annotation):
            return self._record(annotation, where)
        if isinstance(annotation, typing.NewType):
            return self.schema(annotation.__supertype__, where)
        raise TypeError(f"Failed to make a schema of {where}: {annotation!r} has no JSON schema")

    def _enumeration(self, values: Sequence[Any]) -> dict[str, Json]:
        kinds = {type(value) for value in values}
        schema: dict[str, Json] = {"enum": list(values)}
        for kind in (str, int):
            if kinds == {kind}:
                return {"type": _SCALARS[kind]["type"], **schema}
        return schema

    def _union(self, arguments: Sequence[Any], where: str) -> dict[str, Json]:
        schemas = [self.schema(argument, where) for argument in arguments]
        return {} if {} in schemas else {"anyOf": schemas}

    def _tuple(self, arguments: Sequence[Any], where: str) -> dict[str, Json]:
        if not arguments:
            return {"type": "array"}
        if len(arguments) == 2 and arguments[1] is ...:
            return {"type": "array", "items": self.schema(arguments[0], where)}
        schemas = [self.schema(argument, where) for argument in arguments]
        return {"type": "array", "prefixItems": schemas, "items": False, "minItems": len(schemas)}

    def _record(self, annotation: Any, where: str) -> dict[str, Json]:
        if annotation in self._open:
            name = self._recursive.setdefault(annotation, annotation.__name__)
            return {"$ref": f"#/$defs/{name}"}
        self._open.append(annotation)
        try:
            properties: dict[str, Json] = {}
            required: list[str] = []
            for member in _members(annotation):
                schema = self.schema(member.annotation, f"{member.name} of {annotation.__name__} in {where}")
                if member.is_required:
                    required.append(member.name)
                elif member.default is not dataclasses.MISSING:
                    schema = _with_default(schema, member.default)
                properties[member.name] = schema
        finally:
            self._open.pop()
        schema = _object(properties, required)
        if annotation in self._recursive:
            name = self._recursive[annotation]
            self._definitions[name] = schema
            return {"$ref": f"#/$defs/{name}"}
        return schema


@dataclass
class _Member:
    name: str
    annotation: Any
    is_required: bool
    default: Any
    """`dataclasses.MISSING` when there is none that can be shown."""


def _members(annotation: Any) -> list[_Member]:
    """The members of a dataclass or TypedDict."""
    hints = get_type_hints(annotation, include_extras=True)
    if typing.is_typeddict(annotation):
        # Where annotations are strings, the class itself does not know which of its keys are marked.
        marks = {name: get_origin(hint) for name, hint in hints.items()}
        needed = {
            name
            for name, mark in marks.items()
            if mark is Required or (mark is not NotRequired and name in annotation.__required_keys__)
        }
        return [_Member(name, hint, name in needed, dataclasses.MISSING) for name, hint in hints.items()]
    members = []
    for item in dataclasses.fields(annotation):
        if item.init:
            has_default = item.default is not dataclasses.MISSING or item.default_factory is not dataclasses.MISSING
            members.append(_Member(item.name, hints[item.name], not has_default, item.default))
    return members


def build(annotation: Any, value: Json, where: str) -> Any:
    """The Python value that an annotation makes of a JSON value. Raises InputError when it does not fit."""
    if annotation is Any or annotation is object:
        return value
    if annotation is None or annotation is type(None):
        return _expect(value is None, None, where, "null", value)
    if annotation is bool:
        return _expect(isinstance(value, bool), value, where, "a boolean", value)
    if annotation is int:
        if isinstance(value, float) and value.is_integer():
            # JavaScript has one kind of number.
            return int(value)
        return _expect(isinstance(value, int) and not isinstance(value, bool), value, where, "an integer", value)
    if annotation is float:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return float(_expect(is_number, value, where, "a number", value))
    if annotation is str:
        return _expect(isinstance(value, str), value, where, "a string", value)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Annotated, Required, NotRequired):
        return build(arguments[0], value, where)
    if origin is Literal:
        return _one_of(arguments, value, where)
    if origin in (Union, types.UnionType):
        return _build_union(arguments, value, where)
    kind = origin or annotation
    if kind is tuple or kind in _LISTS:
        return _build_list(kind, arguments, value, where)
    if kind in _MAPS:
        _expect(isinstance(value, dict), value, where, "an object", value)
        inner = arguments[1] if arguments else Any
        return {key: build(inner, item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return annotation(_one_of([member.value for member in annotation], value, where))
    if isinstance(annotation, typing.NewType):
        return build(annotation.__supertype__, value, where)
    return _build_record(annotation, value, where)


def _one_of(choices: Sequence[Any], value: Json, where: str) -> Any:
    for choice in choices:
        # `True == 1` in Python, and not in JSON.
        if choice == value and isinstance(choice, bool) == isinstance(value, bool):
            return choice
    raise InputError(f"{where} must be one of {', '.join(map(repr, choices))}, not {value!r}")


def _build_union(arguments: Sequence[Any], value: Json, where: str) -> Any:
    errors = []
    for argument in arguments:
        try:
            return build(argument, value, where)
        except InputError as error:
            errors.append(str(error))
    raise InputError(errors[0] if len(set(errors)) == 1 else f"{where} fits none of its types: {'; '.join(errors)}")


def _build_list(kind: Any, arguments: Sequence[Any], value: Json, where: str) -> Any:
    _expect(isinstance(value, list), value, where, "an array", value)
    if kind is tuple and arguments and arguments[-1] is not ...:
        _expect(len(value) == len(arguments), value, where, f"an array of {len(arguments)}", value)
        return tuple(build(each, item, f"{where}[{n}]") for n, (each, item) in enumerate(zip(arguments, value)))
    inner = arguments[0] if arguments else Any
    items = [build(inner, item, f"{where}[{n}]") for n, item in enumerate(value)]
    return kind(items) if kind in (tuple, set, frozenset) else items


def _build_record(annotation: Any, value: Json, where: str) -> Any:
    _expect(isinstance(value, dict), value, where, "an object", value)
    members = {member.name: member for member in _members(annotation)}
    for name in value:
        if name not in members:
            raise InputError(f"{where} has no member {name!r}; it has: {', '.join(members)}")
    for member in members.values():
        if member.is_required and member.name not in value:
            raise InputError(f"{where} needs the member {member.name!r}")
    built = {name: build(members[name].annotation, item, f"{where}.{name}") for name, item in value.items()}
    return annotation(**built)


def _expect(holds: bool, result: Any, where: str, expected: str, value: Json) -> Any:
    if not holds:
        raise InputError(f"{where} must be {expected}, not {_kind(value)}")
    return result


def _kind(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def to_json(value: Any) -> Json:
    """What JSON can hold of a tool's result: dataclasses as objects, enumerations as values, sets and tuples as arrays.

    Raises TypeError for anything else.
    """
    if value is None or isinstance(value, (str, bool, int, float)) and not isinstance(value, enum.Enum):
        return value
    if isinstance(value, enum.Enum):
        return to_json(value.value)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("the keys of a JSON object are strings")
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_json(getattr(value, item.name)) for item in dataclasses.fields(value)}
    raise TypeError(f"JSON cannot hold a {type(value).__name__}")
