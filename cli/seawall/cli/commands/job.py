"""`seawall job`: one maintenance job of a repository: what it does, what it found."""

from typing import Annotated

import typer

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.completion import job_ids
from seawall.cli.connection import new_request_id
from seawall.cli.job_text import print_job
from seawall.cli.job_watch import finish_job, follow_job
from seawall.cli.session import ConfigOption, JsonOption, session

app = typer.Typer(
    name="job",
    no_args_is_help=True,
    help="Maintenance jobs: collections, checks, healings. `seawall repo jobs` lists them.",
)

JobArgument = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="The job's id, or enough of its first digits to be unique (8 at least).",
        autocompletion=job_ids,
    ),
]


@app.command("show")
def show_job(job: JobArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show one job: how far it is, or what it did and found."""
    with session(config, as_json) as (controller, output):
        found = controller.call(controller.backup.GetJob, operator_pb2.GetJobRequest(job=job)).job
        if as_json:
            return output.json({"job": found})
        print_job(output, found)


@app.command("watch")
def watch_job(job: JobArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Follow a job until it is over. Ends with 0 when it succeeded and found nothing wrong, 1 when it failed or found damage,
    8 when it was canceled. Ctrl-C leaves the job alone."""
    with session(config, as_json) as (controller, output):
        found = controller.call(controller.backup.GetJob, operator_pb2.GetJobRequest(job=job)).job
        finish_job(output, follow_job(controller, output, found))


@app.command("cancel")
def cancel_job(job: JobArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Ask for a job to be canceled. It stops before its next step; what it did stays done."""
    with session(config, as_json) as (controller, output):
        request = operator_pb2.CancelJobRequest(request_id=new_request_id(), job=job)
        found = controller.call(controller.backup.CancelJob, request).job
        if as_json:
            return output.json({"job": found})
        over = found.state == resources_pb2.JOB_STATE_CANCELED
        output.line(f"Job {found.job_id} is canceled." if over else f"Job {found.job_id} will be canceled.")
