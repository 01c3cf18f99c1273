"""Frozen dataclasses in JSON columns. Only the types that records use: dataclasses, tuples, StrEnums, numbers, text, None."""

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Hashable
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, cast

T = TypeVar("T")


def dump(value: object) -> str:
    """JSON of a dataclass, or of a tuple of them."""
    return json.dumps(value, default=_plain, separators=(",", ":"), sort_keys=True)


def dump_or_null(value: object | None) -> str | None:
    return None if value is None else dump(value)


def load(kind: type[T], text: str) -> T:
    """The dataclass that `dump` wrote."""
    value: T = _reader(cast(Hashable, kind))(json.loads(text))
    return value


def load_or_none(kind: type[T], text: str | None) -> T | None:
    return None if text is None else load(kind, text)


def load_tuple(kind: type[T], text: str) -> tuple[T, ...]:
    reader = _reader(cast(Hashable, kind))
    return tuple(reader(item) for item in json.loads(text))


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value)} has no place in a JSON column")


@cache
def _reader(kind: Hashable) -> Callable[[Any], Any]:
    """What turns parsed JSON into a value of the type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        item = _reader(arguments[0])
        return lambda items: tuple(item(each) for each in items)
    if origin is types.UnionType:
        inner = _reader(next(each for each in arguments if each is not type(None)))
        return lambda each: None if each is None else inner(each)
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(kind)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind
    return lambda each: each


def _dataclass_reader(kind: Any) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in dataclasses.fields(kind)}
    # Fields that an older version did not write keep their defaults; fields that a newer one wrote are left out.
    return lambda fields: kind(**{name: read(fields[name]) for name, read in readers.items() if name in fields})
