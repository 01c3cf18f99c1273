"""Messages as plain values for --json: numbers stay numbers, enums become short lower-case words, times ISO 8601, bytes hex."""

from datetime import UTC
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def enum_word(descriptor: EnumDescriptor, number: int) -> str:
    """RUN_STATE_SUCCEEDED -> "succeeded"; a number of a newer server -> "unknown-<number>"."""
    value = descriptor.values_by_number.get(number)
    if value is None:
        return f"unknown-{number}"
    prefix = "".join(f"_{c}" if c.isupper() else c.upper() for c in descriptor.name).lstrip("_") + "_"
    return str(value.name).removeprefix(prefix).lower()


def word(message: Message, field: str) -> str:
    """The short word of an enum field of a message."""
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    assert descriptor.enum_type is not None, field  # noqa: S101 - a programmer's slip, not input
    return enum_word(descriptor.enum_type, getattr(message, field))


def plain(message: Message) -> dict[str, Any]:
    """All fields of a message, snake_case, absent sub-messages and absent optional values as None."""
    return {field.name: _field(message, field) for field in message.DESCRIPTOR.fields}


def _field(message: Message, field: FieldDescriptor) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_single(item, field) for item in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _single(value, field)


def _single(value: Any, field: FieldDescriptor) -> Any:
    if isinstance(value, Timestamp):
        return value.ToDatetime(tzinfo=UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Duration):
        return value.ToTimedelta().total_seconds()
    if isinstance(value, Message):
        return plain(value)
    if field.enum_type is not None:
        return enum_word(field.enum_type, value)
    return value.hex() if isinstance(value, bytes) else value
