"""How errors leave the controller: the table from our classes to gRPC's codes, and the interceptor that applies it to every call.

An answer carries google.rpc.ErrorInfo {reason, domain "seawall", metadata}; clients switch on the reason, never on the text.
"""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import aio
from grpc_status import rpc_status

from seawall.controller import errors
from seawall.controller.server.around import AroundInterceptor, Interceptor

DOMAIN = "seawall"
MESSAGE_BYTES = 2048
METADATA_BYTES = 3072  # of ErrorInfo; with the message well under gRPC's hard limit of 16 KiB for all metadata

CODES: dict[type[errors.ControllerError], int] = {
    errors.NotFound: code_pb2.NOT_FOUND,
    errors.InvalidArgument: code_pb2.INVALID_ARGUMENT,
    errors.FailedPrecondition: code_pb2.FAILED_PRECONDITION,
    errors.AlreadyExists: code_pb2.ALREADY_EXISTS,
    errors.PermissionDenied: code_pb2.PERMISSION_DENIED,
    errors.Unauthenticated: code_pb2.UNAUTHENTICATED,
    errors.ResourceExhausted: code_pb2.RESOURCE_EXHAUSTED,
    errors.Aborted: code_pb2.ABORTED,
    errors.Unavailable: code_pb2.UNAVAILABLE,
    errors.DataLoss: code_pb2.DATA_LOSS,
}

_log = structlog.get_logger()


def status_of(error: errors.ControllerError) -> status_pb2.Status:
    """The google.rpc.Status that travels."""
    code = next((CODES[each] for each in type(error).__mro__ if each in CODES), code_pb2.UNKNOWN)
    return _status(code, error.reason, str(error), error.metadata)


def internal_status(error_id: str) -> status_pb2.Status:
    """What a caller learns of an error that we did not foresee: the id under which the log has the rest."""
    message = f"The controller met an unexpected error; its log has the details under error_id {error_id}."
    return _status(code_pb2.INTERNAL, "INTERNAL", message, {"error_id": error_id})


def status_interceptor() -> Interceptor:
    """To be the outermost interceptor of a server."""
    return AroundInterceptor(_mapped)


@asynccontextmanager
async def _mapped(method: str, context: "aio.ServicerContext[Any, Any]") -> AsyncIterator[None]:
    try:
        yield
    except aio.AbortError:
        raise
    except errors.ControllerError as error:
        await _abort(context, status_of(error))
    except Exception:
        error_id = str(uuid.uuid4())
        _log.exception("rpc.failed", method=method, error_id=error_id)
        await _abort(context, internal_status(error_id))


async def _abort(context: Any, status: status_pb2.Status) -> None:
    await context.abort_with_status(rpc_status.to_status(status))


def _status(code: int, reason: str, message: str, metadata: dict[str, str]) -> status_pb2.Status:
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)
    budget = METADATA_BYTES
    for key, value in metadata.items():
        value = _cut(value, max(0, budget - len(key)))
        budget -= len(key) + len(value.encode())
        if budget < 0:
            break
        info.metadata[key] = value
    detail = AnyMessage()
    detail.Pack(info)
    return status_pb2.Status(code=code, message=_cut(message, MESSAGE_BYTES), details=[detail])


def _cut(text: str, limit_bytes: int) -> str:
    """At most so many bytes of UTF-8, never half a character."""
    raw = text.encode(errors="replace")
    if len(raw) <= limit_bytes:
        return raw.decode()
    return raw[: max(0, limit_bytes - 3)].decode(errors="ignore") + "…"


def grpc_code(error: errors.ControllerError) -> grpc.StatusCode:
    """The code alone, for tables in documentation and tests."""
    return rpc_status.to_status(status_of(error)).code
