"""`seawall repo collect`, `check`, `heal` and `jobs`: maintenance of a repository, done beside the controller while backups go on."""

import os
from typing import Annotated

import typer

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.completion import repository_names
from seawall.cli.connection import Controller, new_request_id
from seawall.cli.exits import CommandError, Exit
from seawall.cli.job_text import job_rows
from seawall.cli.job_watch import finish_job, follow_job
from seawall.cli.new_repository import repository_url
from seawall.cli.numbers import number_option, whole_number
from seawall.cli.output import Output
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.repository.clock import SystemClock, datetime_of

RepositoryArgument = Annotated[
    str, typer.Argument(metavar="REPOSITORY", help="Name or id.", autocompletion=repository_names)
]
WaitOption = Annotated[
    bool,
    typer.Option(
        "--wait/--no-wait",
        help="Show progress until the job is over, or only start it. Ctrl-C leaves it alone: seawall job watch.",
    ),
]
_WHOLE = 100


def collect_garbage(
    repository: RepositoryArgument,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            "--dry-run",
            help="Say what would go, how many bytes come back, what stays and why; change nothing.",
        ),
    ] = False,
    wait: WaitOption = True,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove what no restore point needs. Backups and restores go on meanwhile.

    Data leaves in two steps: first nothing new may use it, then, after a grace period (24 hours unless configured otherwise), it is removed
    from the bucket. So the first collection after points were deleted may bring back little.

    Example: seawall repo collect main --plan
    """
    with session(config, as_json) as (controller, output):
        spec = resources_pb2.JobSpec(plan_only=plan)
        _run(controller, output, repository, resources_pb2.JOB_KIND_COLLECT, spec, wait=wait or plan)


def check_repository(
    repository: RepositoryArgument,
    read_data: Annotated[
        str,
        typer.Option(
            "--read-data",
            metavar="[=PERCENT]",
            help="Also read the data, decrypt it and recompute every hash: all of it, or so many percent, longest unread first.",
            show_default=False,
        ),
    ] = "",
    wait: WaitOption = True,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that every restore point can be read: every manifest, page and chunk is there. Ends with 1 when damage was found.

    Damage names the object, the points that it costs and what to do. What is found damaged is stored anew by the next backups.

    \b
    Examples:
      seawall repo check main
      seawall repo check main --read-data
      seawall repo check main --read-data=5
    """
    with session(config, as_json) as (controller, output):
        spec = resources_pb2.JobSpec(read_data_percent=_percent(read_data) if read_data else 0)
        _run(controller, output, repository, resources_pb2.JOB_KIND_CHECK, spec, wait=wait)


def heal_repository(
    repository: RepositoryArgument,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="URL",
            help="The copy: s3://BUCKET or s3://BUCKET/PREFIX, or a folder that the controller sees.",
        ),
    ],
    endpoint: Annotated[str, typer.Option(help="The copy's S3 server: https://host:port. Left out for AWS.")] = "",
    region: Annotated[str, typer.Option(help="S3 region of the copy.")] = "us-east-1",
    wait: WaitOption = True,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace damaged packs by good ones from a copy of the repository (made with any tool that copies objects).

    The copy is only read, and what comes from it is proven before it is used. Its S3 keys come from AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY; without them the repository's own are used.

    Example: seawall repo heal main --from s3://backups-copy --endpoint https://s3.example.org
    """
    with session(config, as_json) as (controller, output):
        spec = resources_pb2.JobSpec(source_url=repository_url(source, endpoint, region))
        _run(controller, output, repository, resources_pb2.JOB_KIND_HEAL, spec, wait=wait)


def list_jobs(
    repository: RepositoryArgument,
    limit: Annotated[int, number_option(least=1, help="At most this many, newest first.")] = 50,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the maintenance jobs of a repository, newest first."""
    with session(config, as_json) as (controller, output):
        request = operator_pb2.ListJobsRequest(repository=repository, page_size=min(limit, 500))
        jobs = controller.pages(controller.backup.ListJobs, request, "jobs", limit)
        if as_json:
            return output.json({"jobs": jobs})
        output.table(*job_rows(jobs, datetime_of(SystemClock().now_us())), "No maintenance jobs.")


def _run(
    controller: Controller,
    output: Output,
    repository: str,
    kind: "resources_pb2.JobKind.ValueType",
    spec: resources_pb2.JobSpec,
    *,
    wait: bool,
) -> None:
    heals = kind == resources_pb2.JOB_KIND_HEAL and spec.source_url.startswith("s3:")
    request = operator_pb2.StartJobRequest(
        request_id=new_request_id(),
        repository=repository,
        kind=kind,
        spec=spec,
        access_key=os.environ.get("AWS_ACCESS_KEY_ID", "") if heals else "",
        secret_key=os.environ.get("AWS_SECRET_ACCESS_KEY", "") if heals else "",
    )
    job = controller.call(controller.backup.StartJob, request).job
    if wait:
        return finish_job(output, follow_job(controller, output, job))
    if output.as_json:
        return output.json({"job": job})
    output.line(f"Job {job.job_id} is started.")
    output.note(f"Follow it with: seawall job watch {job.job_id}")


def _percent(text: str) -> int:
    try:
        return whole_number(text.removesuffix("%").strip(), 1, _WHOLE)
    except ValueError as error:
        raise CommandError(
            Exit.USAGE, "BAD_PERCENT", f"--read-data={text} is no percentage from 1 to {_WHOLE}."
        ) from error
