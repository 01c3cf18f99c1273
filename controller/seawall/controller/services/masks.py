"""Field masks of operators' changes: a request that names its fields touches no other, not one either that its sender does not know.

A field that is named and has no value is taken back. There are no masks for reading: lists come in pages of what one screen shows, and the
largest page of VMs is encoded in less time than it takes to read.
"""

from collections.abc import Collection, Sequence

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from seawall.api.v1 import limits_pb2, operator_pb2, resources_pb2, user_pb2
from seawall.controller.errors import InvalidArgument

SETTINGS = tuple(field.name for field in resources_pb2.VmSettings.DESCRIPTOR.fields)
LIMITS = ("preparing", "transferring", "bandwidth", "weight")
HOST = ("service", "site")
USER = ("role",)
SHOWN = 100
"""Characters of a wrong path."""


def masked_settings(request: operator_pb2.ProtectVmRequest) -> tuple[resources_pb2.VmSettings, Sequence[str]]:
    """(what is said, what is said no longer). Raises InvalidArgument/BAD_MASK."""
    paths = _named(request.update_mask, SETTINGS)
    if not paths:
        return request.settings, request.unset
    if "ignored_because" in paths and "ignored" not in paths:
        raise _bad("ignored_because says why a VM is ignored: name ignored as well")
    said = resources_pb2.VmSettings()
    for path in paths:
        _take(path, request.settings, said)
    valued = {field.name for field, _ in said.ListFields()}
    if stray := sorted(set(request.unset) - (paths - valued)):
        raise _bad(f"{stray[0][:SHOWN]!r} is to be unset, but the mask does not name it, or it has a value")
    return said, sorted(paths - valued - {"ignored_because"})


def masked_limits(request: limits_pb2.SetLimitRequest) -> tuple[limits_pb2.SetLimitRequest, frozenset[str]]:
    """(the request with what is set, what goes back to what it was without). Raises InvalidArgument/BAD_MASK."""
    paths = _named(request.update_mask, LIMITS)
    if not paths:
        return request, frozenset()
    said = limits_pb2.SetLimitRequest(request_id=request.request_id, scope=request.scope)
    for path in paths:
        _take(path, request, said)
    return said, frozenset(paths - {field.name for field, _ in said.ListFields()})


def masked_host(request: limits_pb2.SetHostRequest) -> limits_pb2.SetHostRequest:
    """With what is meant alone; a site that is taken back is empty. Raises InvalidArgument/BAD_MASK."""
    paths = _named(request.update_mask, HOST)
    if not paths:
        return request
    if "service" in paths and not request.service:
        raise _bad("a host always has a service: give the one that it is to have")
    said = limits_pb2.SetHostRequest(request_id=request.request_id, host=request.host)
    for path in paths:
        _take(path, request, said)
    if "site" in paths:
        said.site = request.site
    return said


def masked_user(request: user_pb2.SetUserRequest) -> user_pb2.SetUserRequest:
    """There is one field so far: with or without a mask it is the role. Raises InvalidArgument/BAD_MASK."""
    _named(request.update_mask, USER)
    return request


def _named(mask: FieldMask, known: Collection[str]) -> set[str]:
    """Empty: there is no mask."""
    if wrong := [path for path in mask.paths if path not in known]:
        every = "; there is no mask for everything, which would take back what the sender does not know"
        raise _bad(
            f"there is no field {wrong[0][:SHOWN]!r}{every if wrong[0] == '*' else ''}; there are {', '.join(known)}"
        )
    return set(mask.paths)


def _take(path: str, source: Message, target: Message) -> None:
    """The field as it is, a message within it whole."""
    field = source.DESCRIPTOR.fields_by_name[path]
    if field.has_presence and not source.HasField(path):
        return
    value = getattr(source, path)
    if field.message_type is not None:
        getattr(target, path).CopyFrom(value)
        getattr(target, path).SetInParent()
    else:
        setattr(target, path, value)


def _bad(what: str) -> InvalidArgument:
    return InvalidArgument("BAD_MASK", f"update_mask: {what}.")
