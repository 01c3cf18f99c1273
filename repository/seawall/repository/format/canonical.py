"""Canonical JSON of frozen dataclasses: small descriptors that people may want to read. One value has one encoding.

Keys sorted, no blanks, ASCII, integers only; bytes as lower-case hex, tuples as lists, enums as integers. A reader encodes again what it
read and compares, so duplicate or unknown keys, other number forms and other orders are refused.
"""

import dataclasses
import json
from enum import IntEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from seawall.repository.errors import IntegrityError

T = TypeVar("T")


def to_canonical(value: object) -> bytes:
    """`value`: a dataclass of str, int, bool, bytes, IntEnum, tuples, optionals and dataclasses. Fields marked json=False stay out."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def from_canonical(cls: type[T], body: bytes, what: str) -> T:
    """Raises IntegrityError, naming `what`, on anything but what to_canonical writes for this class."""
    try:
        value = _typed(cls, json.loads(body.decode("ascii")))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise IntegrityError(f"{what}: malformed: {error}") from error
    if not isinstance(value, cls) or to_canonical(value) != body:
        raise IntegrityError(f"{what}: not in the one form that Seawall writes")
    return value


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(getattr(value, name)) for name in _fields(type(value))}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, IntEnum):
        return int(value)
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"no canonical form for {type(value).__name__}")


@cache
def _fields(cls: type) -> dict[str, Any]:
    """Field name -> type, without those that stay out."""
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.metadata.get("json", True)}


def _typed(wanted: Any, value: Any) -> Any:
    origin = get_origin(wanted)
    if origin is UnionType:
        (inner,) = (choice for choice in get_args(wanted) if choice is not NoneType)
        return None if value is None else _typed(inner, value)
    if origin is tuple:
        return _typed_tuple(get_args(wanted), value)
    if dataclasses.is_dataclass(wanted):
        return _typed_dataclass(wanted, value)
    return _typed_scalar(wanted, value)


def _typed_tuple(items: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TypeError("a list was expected")
    if items[-1] is Ellipsis:
        return tuple(_typed(items[0], item) for item in value)
    return tuple(_typed(wanted, item) for wanted, item in zip(items, value, strict=True))


def _typed_dataclass(wanted: Any, value: Any) -> Any:
    fields = _fields(wanted)
    if not isinstance(value, dict) or set(value) != set(fields):
        raise TypeError(f"{wanted.__name__} has other fields")
    return wanted(**{name: _typed(kind, value[name]) for name, kind in fields.items()})


def _typed_scalar(wanted: Any, value: Any) -> Any:
    if wanted is bytes and isinstance(value, str):
        return bytes.fromhex(value)
    if wanted is str and isinstance(value, str):
        value.encode("utf-8")  # a lone surrogate is no text
        return value
    if wanted is bool and isinstance(value, bool):
        return value
    if not isinstance(value, bool) and isinstance(value, int) and issubclass(wanted, int) and 0 <= value < 1 << 63:
        return wanted(value)
    raise TypeError(f"a value is no {wanted.__name__}")
