"""What every method of the operator's API keeps to, read from the descriptors themselves: a new method that forgets it fails here."""

import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor

from seawall.api.v1 import agent_pb2, enroll_pb2, limits_pb2, operator_pb2, policy_pb2, resources_pb2, user_pb2

PROTO = Path(operator_pb2.__file__).parent
READS = ("Get", "List", "Watch", "Explain", "Preview")
MEASURES = {"ProbeRepository"}
"""Asked again it measures again: an answer of before would be the wrong one."""
OPERATOR = [
    service
    for module in (operator_pb2, policy_pb2, limits_pb2, user_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
EVERY = [*OPERATOR, *agent_pb2.DESCRIPTOR.services_by_name.values(), *enroll_pb2.DESCRIPTOR.services_by_name.values()]


def methods(services: list[ServiceDescriptor]) -> list[MethodDescriptor]:
    return [method for service in services for method in service.methods]


def named(method: MethodDescriptor) -> str:
    return f"{method.containing_service.name}.{method.name}"


@pytest.mark.parametrize("method", methods(OPERATOR), ids=named)
def test_what_changes_something_may_be_sent_twice(method: MethodDescriptor) -> None:
    """By its request id; what only looks has none."""
    has = "request_id" in method.input_type.fields_by_name
    assert has is not (method.name.startswith(READS) or method.name in MEASURES), (
        "readers begin with Get, List, Watch, Explain or Preview"
    )
    if has:
        assert method.input_type.fields_by_name["request_id"].number == 1


CHANGES_FIELDS = ("Set", "Protect", "Update")
WHOLE = {"SetApart"}
"""It takes VMs into a group, or out of it: there are no fields to name."""


@pytest.mark.parametrize("method", methods(OPERATOR), ids=named)
def test_what_changes_fields_may_name_them(method: MethodDescriptor) -> None:
    """Else an old client, which sends the whole of what it knows, takes back what it does not know."""
    if not method.name.startswith(CHANGES_FIELDS) or method.name in WHOLE:
        return
    mask = method.input_type.fields_by_name["update_mask"]
    assert mask.message_type.full_name == "google.protobuf.FieldMask"
    assert "BAD_MASK" in (PROTO / Path(method.containing_service.file.name).name).read_text()


@pytest.mark.parametrize("method", [each for each in methods(OPERATOR) if each.name.startswith("List")], ids=named)
def test_lists_come_in_pages(method: MethodDescriptor) -> None:
    assert {"page_size", "page_token"} <= set(method.input_type.fields_by_name)
    assert "next_page_token" in method.output_type.fields_by_name


@pytest.mark.parametrize("method", methods(EVERY), ids=named)
def test_every_method_has_messages_of_its_own(method: MethodDescriptor) -> None:
    """So that each can grow without the others."""
    assert method.input_type.name == f"{method.name}Request"
    assert method.output_type.name == f"{method.name}Response"


def test_moments_and_spans_are_the_well_known_types() -> None:
    """A number of seconds or microseconds in a field tells nobody which."""
    wrong = []
    for module in (operator_pb2, policy_pb2, limits_pb2, user_pb2, resources_pb2, agent_pb2, enroll_pb2):
        for message in module.DESCRIPTOR.message_types_by_name.values():
            for field in message.fields:
                moment = field.name.endswith("_at")
                if moment and (
                    field.type != FieldDescriptor.TYPE_MESSAGE
                    or field.message_type.full_name != "google.protobuf.Timestamp"
                ):
                    wrong.append(field.full_name)
    assert wrong == []


@pytest.mark.parametrize(
    "enum",
    [
        enum
        for module in (operator_pb2, policy_pb2, limits_pb2, user_pb2, resources_pb2, agent_pb2)
        for enum in module.DESCRIPTOR.enum_types_by_name.values()
    ],
    ids=lambda enum: enum.name,
)
def test_zero_says_nothing(enum: object) -> None:
    """An old peer that does not know a value sends or reads 0: it must never mean a thing."""
    values = enum.values_by_number  # type: ignore[attr-defined]
    assert values[0].name.endswith("_UNSPECIFIED")


def test_each_refusal_of_operators_names_its_reason_in_the_proto() -> None:
    """Every method that may refuse says with which code and reason, as CODE/REASON."""
    silent = []
    for path in sorted(PROTO.glob("*.proto")):
        for comment, name, request in re.findall(
            r"((?:^  //.*\n)*)^  rpc (\w+)\((\w+)\)", path.read_text(), re.MULTILINE
        ):
            if not name.startswith(READS) and request and not re.search(r"[A-Z_]+/[A-Z_]{3,}", comment):
                silent.append(f"{path.name}: {name}")
    assert silent == []
