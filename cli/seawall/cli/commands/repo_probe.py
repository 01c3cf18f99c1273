"""`seawall repo probe`: what a repository's store really promises, how fast it is, and what follows where it keeps no promise."""

from typing import Annotated

import typer

from seawall.api.v1 import operator_pb2
from seawall.cli.commands.repo_jobs import RepositoryArgument
from seawall.cli.connection import ADD_REPOSITORY_SECONDS
from seawall.cli.output import Output
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.text import size


def probe_repository(
    repository: RepositoryArgument,
    plan: Annotated[
        bool, typer.Option("--plan", "--dry-run", help="Say what would be tried in the store; touch nothing.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try what a repository's store really does: conditional PUTs, lost answers, versions, locks, its clock, its speed.

    A few objects below v1/c/probe/ are written, read and removed again; backups go on meanwhile. What is found is remembered and shown by
    `seawall repo show`.

    Example: seawall repo probe main
    """
    with session(config, as_json) as (controller, output):
        request = operator_pb2.ProbeRepositoryRequest(repository=repository, plan_only=plan)
        found = controller.call(controller.backup.ProbeRepository, request, timeout_seconds=ADD_REPOSITORY_SECONDS)
        if as_json:
            return output.json(found)
        if plan:
            output.line(f"In {found.repository.url} this would")
            for step in found.would_do:
                output.line(f"  - {step}")
            return
        _print(output, found)


def _print(output: Output, found: operator_pb2.ProbeRepositoryResponse) -> None:
    output.line(f"{found.repository.name}: {found.repository.url}", style="bold")
    for answer in found.answers:
        mark, style = ("ok  ", None) if answer.good else ("NO  ", "yellow")
        output.line(f"{mark}{answer.question.replace('_', ' '):24}{answer.says}", style=style)
    output.line()
    output.table(
        ("REQUEST", ">SIZE", ">COUNT", ">MEDIAN", ">SLOWEST", ">MB/s"),
        (
            (
                speed.request,
                size(speed.size_bytes),
                str(speed.count),
                f"{speed.median_ms:.1f} ms",
                f"{speed.slowest_ms:.1f} ms",
                f"{speed.size_bytes / 1000 / max(speed.median_ms, 0.001):.1f}",
            )
            for speed in found.speeds
        ),
        "",
    )
