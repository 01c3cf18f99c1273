"""What each method of the operator port needs: one table, in which every method stands once (a test compares it with the services).

A method that is not in it is refused. Where in doubt: what others cannot take back, and what decides who may speak, is an admin's.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog
from grpc import aio

from seawall.controller.errors import ControllerError, PermissionDenied
from seawall.controller.records.users import Caller, Role
from seawall.controller.server.around import AroundInterceptor, Interceptor
from seawall.controller.server.auth import OPEN_METHODS, operator_of

_PACKAGE = "/seawall.api.v1."

NEEDS: Mapping[Role, Mapping[str, tuple[str, ...]]] = {
    Role.VIEWER: {
        "BackupService": (
            "GetStatus",
            "ListHosts",
            "ListVms",
            "GetVm",
            "ListRuns",
            "GetRun",
            "WatchRuns",
            "ListPoints",
            "GetPoint",
            "ListRepositories",
            "GetRepository",
            "GetJob",
            "ListJobs",
            "WatchJob",
        ),
        "PolicyService": ("ListPolicies", "GetPolicy", "PreviewPolicy", "ListHooks"),
        "LimitService": ("ListLimits", "GetHost", "ExplainRun"),
        "AdminService": ("GetAuthority",),
        "UserService": ("GetCaller", "ListUsers"),
    },
    Role.OPERATOR: {
        "BackupService": (
            "ProtectVm",
            "ConfirmMove",
            "StartBackup",
            "StartRestore",
            "CancelRun",
            "CancelRuns",
            "HoldPoints",
            "ReleasePoints",
            "ProbeRepository",
            "StartJob",
            "CancelJob",
        ),
        "PolicyService": ("ApplyPolicies", "DeletePolicy", "TestHook"),
        "LimitService": ("SetLimit", "UnsetLimit", "SetApart", "SetHost"),
    },
    Role.ADMIN: {
        "BackupService": ("DeletePoints", "ForgetPoints", "AddRepository"),
        "AdminService": ("CreateJoinToken", "RevokeHost", "RotateAuthority", "CancelRotation"),
        "UserService": ("AddUser", "SetUser", "RenewUserToken", "RemoveUser"),
    },
}

LEAST_ROLE: Mapping[str, Role] = {
    f"{_PACKAGE}{service}/{method}": role
    for role, services in NEEDS.items()
    for service, methods in services.items()
    for method in methods
}
"""Method, as gRPC names it → the least role that may call it."""

_log = structlog.get_logger()


def require(method: str, caller: Caller) -> Role:
    """The least role that the method needs. Raises PermissionDenied/ROLE_TOO_LOW."""
    least = LEAST_ROLE.get(method)
    if least is None:
        raise PermissionDenied("ROLE_TOO_LOW", f"Nobody may call {method}: no role of this controller has it.")
    if not caller.role.may(least):
        needed = least.value.lower()
        raise PermissionDenied(
            "ROLE_TOO_LOW",
            f"{caller.name} is {_a(caller.role)}, and this needs {_a(least)}. "
            f"An admin can change that: seawall user set {caller.name} --role {needed}",
            {"user": caller.name, "role": caller.role.value.lower(), "needed": needed},
        )
    return least


def role_required() -> Interceptor:
    """To be inside `operator_auth`. Who called what that changes something is in the log, however it ended; and who was refused."""

    @asynccontextmanager
    async def around(method: str, context: "aio.ServicerContext[Any, Any]") -> AsyncIterator[None]:
        if method.startswith(OPEN_METHODS):
            yield
            return
        caller, called = operator_of(context), method.removeprefix(_PACKAGE)
        try:
            least = require(method, caller)
        except PermissionDenied:
            _log.warning("operator.refused", user=caller.name, role=caller.role.value, method=called)
            raise
        if least is Role.VIEWER:
            yield
            return
        outcome = "CUT_OFF"
        try:
            yield
            outcome = "OK"
        except ControllerError as error:
            outcome = error.reason
            raise
        except Exception:
            outcome = "FAILED"  # `rpc.failed` has the rest
            raise
        finally:
            _log.info("operator.called", user=caller.name, role=caller.role.value, method=called, outcome=outcome)

    return AroundInterceptor(around)


def _a(role: Role) -> str:
    word = role.value.lower()
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
