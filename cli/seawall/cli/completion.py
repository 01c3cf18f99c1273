"""Names and ids for the shell's completion, asked of the controller. Whatever goes wrong there ends in no suggestion."""

from collections.abc import Callable, Iterable
from typing import Any

import typer

from seawall.api.v1 import limits_pb2, operator_pb2, policy_pb2, user_pb2
from seawall.cli.connection import Controller, connect
from seawall.cli.exits import CommandError
from seawall.cli.text import local
from seawall.cli.view import word

DEADLINE_SECONDS = 2.0
MOST = 200

Suggestion = tuple[str, str]
"""What to type, and what it is."""


def vm_names(context: typer.Context, incomplete: str) -> list[Suggestion]:
    """VMs by name."""

    def collect(controller: Controller) -> Iterable[Suggestion]:
        request = operator_pb2.ListVmsRequest(page_size=MOST)
        return ((vm.name, f"on {vm.host_name}") for vm in _ask(controller, controller.backup.ListVms, request).vms)

    return _suggestions(context, incomplete, collect)


def host_names(context: typer.Context, incomplete: str) -> list[Suggestion]:
    """Hosts by name."""

    def collect(controller: Controller) -> Iterable[Suggestion]:
        request = operator_pb2.ListHostsRequest(page_size=MOST)
        hosts = _ask(controller, controller.backup.ListHosts, request).hosts
        return ((host.name, "online" if host.online else "offline") for host in hosts)

    return _suggestions(context, incomplete, collect)


def repository_names(context: typer.Context, incomplete: str) -> list[Suggestion]:
    """Repositories by name."""

    def collect(controller: Controller) -> Iterable[Suggestion]:
        request = operator_pb2.ListRepositoriesRequest()  # without a page's size: all of them
        found = _ask(controller, controller.backup.ListRepositories, request).repositories
        return ((repository.name, repository.url) for repository in found)

    return _suggestions(context, incomplete, collect)


def limit_scopes(context: typer.Context, incomplete: str) -> list[Suggestion]:
    """What may be limited: hosts, storages and so on."""

    def collect(controller: Controller) -> Iterable[Suggestion]:
        request = limits_pb2.ListLimitsRequest(all=True)
        limits = _ask(controller, controller.limits.ListLimits, request).limits
        return ((each.scope, "") for each in limits)

    return _suggestions(context, incomplete, collect)


def tenant_names(context: typer.Context, incomplete: str) -> list[Suggestion]:
    """Tenants that policies, VMs or limits name."""

    def collect(controller: Controller) -> Iterable[Suggestion]:
        request = limits_pb2.ListLimitsRequest(all=True)
        scopes = (each.scope.partition(":") for each in _ask(controller, controller.limits.ListLimits, request).limits)
        return ((name, "tenant") for kind, _, name in scopes if kind == "tenant" and name)

    return _suggestions(context, incomplete, collect)


def run_ids(context: typer.Context, incomplete: str) -> list[Suggestion]:
    """The newest runs."""
    return _suggestions(context, incomplete, lambda controller: _runs(controller, open_only=False))


def open_run_ids(context: typer.Context, incomplete: str) -> list[Suggestion]:
    """Runs that are not over."""
    return _suggestions(context, incomplete, lambda controller: _runs(controller, open_only=True))


def point_ids(context: typer.Context, incomplete: str) -> list[Suggestion]:
    """The newest restore points."""

    def collect(controller: Controller) -> Iterable[Suggestion]:
        request = operator_pb2.ListPointsRequest(page_size=MOST)
        points = _ask(controller, controller.backup.ListPoints, request).points
        return ((point.point_id, f"{point.vm_name} {local(point.instant)}") for point in points)

    return _suggestions(context, incomplete, collect)


def policy_names(context: typer.Context, incomplete: str) -> list[Suggestion]:
    """Policies by name."""

    def collect(controller: Controller) -> Iterable[Suggestion]:
        found = _ask(controller, controller.policies.ListPolicies, policy_pb2.ListPoliciesRequest()).policies
        return ((policy.name, f"{policy.cron} {policy.zone}, {policy.selection}") for policy in found)

    return _suggestions(context, incomplete, collect)


def hook_names(context: typer.Context, incomplete: str) -> list[Suggestion]:
    """Hooks of the controller's machine."""

    def collect(controller: Controller) -> Iterable[Suggestion]:
        found = _ask(controller, controller.policies.ListHooks, policy_pb2.ListHooksRequest()).hooks
        return ((hook.name, word(hook, "kind")) for hook in found)

    return _suggestions(context, incomplete, collect)


def user_names(context: typer.Context, incomplete: str) -> list[Suggestion]:
    """Users by name, but for the first operator, whom no command changes."""

    def collect(controller: Controller) -> Iterable[Suggestion]:
        found = _ask(controller, controller.users.ListUsers, user_pb2.ListUsersRequest(page_size=MOST)).users
        return ((user.name, word(user, "role")) for user in found if not user.built_in)

    return _suggestions(context, incomplete, collect)


def job_ids(context: typer.Context, incomplete: str) -> list[Suggestion]:
    """The newest maintenance jobs."""

    def collect(controller: Controller) -> Iterable[Suggestion]:
        jobs = _ask(controller, controller.backup.ListJobs, operator_pb2.ListJobsRequest(page_size=MOST)).jobs
        return ((job.job_id, f"{word(job, 'kind')} of {job.repository}, {word(job, 'state')}") for job in jobs)

    return _suggestions(context, incomplete, collect)


def _runs(controller: Controller, *, open_only: bool) -> Iterable[Suggestion]:
    request = operator_pb2.ListRunsRequest(page_size=MOST, open_only=open_only)
    runs = _ask(controller, controller.backup.ListRuns, request).runs
    return ((run.run_id, f"{word(run, 'kind')} of {run.vm_name}, {word(run, 'state')}") for run in runs)


def _ask(controller: Controller, method: Callable[..., Any], request: Any) -> Any:
    return controller.call(method, request, timeout_seconds=DEADLINE_SECONDS)


def _suggestions(
    context: typer.Context, incomplete: str, collect: Callable[[Controller], Iterable[Suggestion]]
) -> list[Suggestion]:
    try:
        with connect(context.params.get("config")) as controller:
            return [suggestion for suggestion in collect(controller) if suggestion[0].startswith(incomplete)]
    except (CommandError, OSError):
        return []
