"""gRPC errors become ours here, and nowhere else: one table from (status, reason) to the class. Used by the client, the link and join."""

from collections.abc import Iterable
from typing import cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from seawall.agent.control.errors import (
    ControllerRefused,
    ControllerSilent,
    HookRunning,
    LeaderElsewhere,
    NotTrusted,
    SessionUnknown,
    TooManyTries,
)
from seawall.agent.errors import AgentError, Canceled, FailureKind, Fenced

_BY_REASON: dict[str, type[AgentError]] = {
    "FENCED": Fenced,
    "ATTEMPT_UNKNOWN": Fenced,
    "NOT_YOUR_ATTEMPT": Fenced,
    "CANCELED": Canceled,
    "SESSION_UNKNOWN": SessionUnknown,
    "NO_CERTIFICATE": NotTrusted,
    "CERTIFICATE_RETIRED": ControllerSilent,  # until this host has caught up
    "AGENT_REVOKED": NotTrusted,
    "TOO_MANY_TRIES": TooManyTries,
    "NOT_LEADER": LeaderElsewhere,
    "HOOK_RUNNING": HookRunning,
}
_SILENT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
}
_PERMANENT = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED}
_NEXT_STEPS = {
    "NEEDS_UPGRADE": "Upgrade the one that is named; the agent asks again by itself, and its VMs are not touched meanwhile.",
    "STORE_UNAVAILABLE": "Check the store, and that the controller reaches it; it is tried again.",
    "STORE_FULL": "Make room in the store or raise its quota; it is tried again.",
    "BUCKET_MISSING": "Bring the bucket back (a folder: mount it), then run it again.",
    "BUCKET_REFUSED": "Check the repository's credentials, the bucket's policy, and the clocks of controller and store.",
    "FOREIGN_REPOSITORY": "Check that the repository's URL still leads to the same bucket.",
    "POINT_DAMAGED": "Restore another point of this VM: `seawall point list --vm VM` shows them.",
    "OBJECT_MISSING": "An object that is needed is gone from the store: restore another point, or back up again.",
    "OBJECT_DAMAGED": "An object that is needed is damaged in the store: restore another point, or back up again.",
}
"""By the controller's reasons: most for what it could not do because of the store."""
_PERMANENT_REASONS = {"POINT_DAMAGED"}
_STATUS_KEY = "grpc-status-details-bin"


def mapped(error: grpc.RpcError) -> AgentError:
    """Our error for a call that failed, synchronous or aio. Raise it `from error`."""
    code, text = _code(error), _text(error)
    reason = reason_of(error)
    if reason in _BY_REASON:
        return _BY_REASON[reason](text)
    if code in _SILENT:
        return ControllerSilent(f"the controller did not answer: {code.name}: {text}")
    refused = ControllerRefused(
        f"the controller refused: {text}", reason=reason or code.name, next_step=_NEXT_STEPS.get(reason)
    )
    if code in _PERMANENT or reason in _PERMANENT_REASONS:
        refused.kind = FailureKind.PERMANENT
    return refused


def reason_of(error: grpc.RpcError) -> str:
    """The reason in the status' ErrorInfo, "" when it carries none."""
    return str(_info(error).reason)


def metadata_of(error: grpc.RpcError) -> dict[str, str]:
    """What the status' ErrorInfo says beside its reason."""
    return dict(_info(error).metadata)


def _info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo:
    """Empty when the answer is not a controller's."""
    for key, value in _trailing(error):
        if key == _STATUS_KEY and isinstance(value, bytes):
            return _info_in(value)
    return error_details_pb2.ErrorInfo()


def _info_in(status_bytes: bytes) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    try:
        for detail in status_pb2.Status.FromString(status_bytes).details:
            if detail.Unpack(info):
                return info
    except DecodeError:
        return error_details_pb2.ErrorInfo()
    return error_details_pb2.ErrorInfo()


def _code(error: grpc.RpcError) -> grpc.StatusCode:
    return error.code() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else grpc.StatusCode.UNKNOWN


def _text(error: grpc.RpcError) -> str:
    return (error.details() or "no details") if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else str(error)


def _trailing(error: grpc.RpcError) -> list[tuple[str, str | bytes]]:
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return []
    return list(cast(Iterable[tuple[str, str | bytes]], error.trailing_metadata() or ()))
