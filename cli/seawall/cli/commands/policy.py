"""`seawall policy`: which VMs are backed up when, where to, and what is kept."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from seawall.api.v1 import policy_pb2
from seawall.cli.completion import policy_names, vm_names
from seawall.cli.confirming import YesOption, confirm
from seawall.cli.connection import PAGE_SIZE, new_request_id
from seawall.cli.exits import CommandError, Exit
from seawall.cli.numbers import number_option
from seawall.cli.policy_text import policy_rows, print_changes, print_policy, print_preview
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.text import count
from seawall.controller.policies.too_large import LARGEST_BYTES, too_large
from seawall.repository.clock import SystemClock, datetime_of

app = typer.Typer(name="policy", no_args_is_help=True, help="Policies: what is backed up when, and what is kept.")

MOST_READ_BYTES = 4 * 1024 * 1024
MOST_TOGETHER_BYTES = 3 * 1024 * 1024
"""Of several files: one request holds 4 MiB."""
NO_FILE = "the file, line 1: there is no policy in it"
"""Said of an empty document without a name."""
STDIN = "-"
PolicyArgument = Annotated[str, typer.Argument(metavar="POLICY", help="Its name.", autocompletion=policy_names)]
FilesOption = Annotated[
    list[str],
    typer.Option(
        "--file", "-f", metavar="FILE", help="YAML, one document a policy; - reads standard input. May be repeated."
    ),
]


@app.command("apply")
def apply_policies(
    file: FilesOption,
    plan: Annotated[bool, typer.Option("--plan", "--dry-run", help="Show what would change; change nothing.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make policies, or change them, as a file says, or several together; all of them or none.

    A policy that is the same stays as it is; another one gets a new revision. Errors name file, line and field.

    A small one:

    \b
      policy: nightly
      repository: main
      select:
        all: true
        except:
          tags:
            - scratch
      schedule: {cron: "30 2 * * *", zone: Europe/Berlin}
      retention: {last: 3, daily: 14, weekly: 8, monthly: 12}

    Example: seawall policy apply -f nightly.yaml --plan
    """
    with session(config, as_json) as (controller, output):
        request = policy_pb2.ApplyPoliciesRequest(request_id="" if plan else new_request_id(), plan_only=plan)
        _add_files(request, file)
        try:
            changes = controller.call(controller.policies.ApplyPolicies, request).changes
        except CommandError as error:
            raise _one_at_a_time(error, request) from error
        if as_json:
            return output.json({"plan_only": plan, "changes": list(changes)})
        print_changes(output, changes, plan_only=plan)


@app.command("list")
def list_policies(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List policies: when each is due next, how many VMs it protects, how many of them are late."""
    with session(config, as_json) as (controller, output):
        request = policy_pb2.ListPoliciesRequest(page_size=PAGE_SIZE)
        found = controller.pages(controller.policies.ListPolicies, request, "policies")
        if as_json:
            return output.json({"policies": found})
        output.table(*policy_rows(found), "No policies. `seawall policy apply --help` shows how to write one.")


@app.command("show")
def show_policy(
    policy: PolicyArgument,
    revision: Annotated[int, number_option(help="An older one.", show_default="the newest")] = 0,
    document: Annotated[bool, typer.Option("--document", help="Only the document, as apply takes it.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one policy with its document."""
    with session(config, as_json) as (controller, output):
        request = policy_pb2.GetPolicyRequest(policy=policy, revision=revision)
        found = controller.call(controller.policies.GetPolicy, request).policy
        if as_json:
            return output.json(found)
        if document:
            return output.line(found.document.rstrip())
        print_policy(output, found)


@app.command("preview")
def preview_policy(
    policy: Annotated[
        str, typer.Argument(metavar="[POLICY]", help="Its name.", autocompletion=policy_names, show_default=False)
    ] = "",
    file: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", metavar="FILE", help="One that is not applied yet; - reads standard input."),
    ] = None,
    firings: Annotated[int, number_option(least=1, most=100, help="How many of its next firings.")] = 5,
    points: Annotated[bool, typer.Option("--points", help="Each of its points, and why it stays or goes.")] = False,
    vm: Annotated[
        list[str] | None,
        typer.Option(
            help="List only this VM and its points, and the sums of all; may be repeated.", autocompletion=vm_names
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a policy will do: its next firings with their offsets from UTC, the VMs that it selects now, what they will probably read
    and take, and what becomes of its points.

    Hours, days, weeks, months and years of its retention are those of its zone, and points belong to those in which they were due. Of a
    large fleet not everything is listed, but all of it is counted: name VMs to see theirs.

    Example: seawall policy preview nightly --points --vm db1
    """
    if len(file or ()) + bool(policy) != 1:
        raise typer.BadParameter("Name a policy, or one file with -f.")
    path = file[0] if file else ""
    with session(config, as_json) as (controller, output):
        request = policy_pb2.PreviewPolicyRequest(
            policy=policy,
            document=_read(path) if path else "",
            source=_named(path) if path else "",
            firings=firings,
            points=points,
            vms=vm or [],
        )
        preview = controller.call(controller.policies.PreviewPolicy, request)
        if as_json:
            return output.json(preview)
        print_preview(output, preview, datetime_of(SystemClock().now_us()), points=points)


@app.command("delete")
def delete_policy(
    policy: PolicyArgument,
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a policy. It begins and deletes nothing any more; its points stay until somebody deletes them."""
    with session(config, as_json) as (controller, output):
        controller.call(controller.policies.GetPolicy, policy_pb2.GetPolicyRequest(policy=policy))
        if not yes:
            confirm(output, f"Delete policy {policy}?", f"Policy {policy} would be deleted.")
        request = policy_pb2.DeletePolicyRequest(request_id=new_request_id(), policy=policy)
        left = controller.call(controller.policies.DeletePolicy, request).points_left
        if as_json:
            return output.json({"deleted": policy, "points_left": left})
        output.line(f"Policy {policy} is deleted.")
        if left:
            output.line(f"{count(left, 'point')} of it stay until somebody deletes them: seawall point forget.")


def _add_files(request: policy_pb2.ApplyPoliciesRequest, files: Sequence[str]) -> None:
    """One as a controller of before takes it too; of several that one would apply none."""
    if len(files) == 1:
        request.document, request.source = _read(files[0]), _named(files[0])
        return
    request.files.extend(policy_pb2.PolicyFile(document=_read(file), source=_named(file)) for file in files)
    if request.ByteSize() > MOST_TOGETHER_BYTES:
        raise CommandError(
            Exit.USAGE,
            "BAD_POLICY",
            f"The files have more than {MOST_TOGETHER_BYTES >> 20} MiB together: too much at once.",
        )


def _one_at_a_time(error: CommandError, request: policy_pb2.ApplyPoliciesRequest) -> CommandError:
    """What a controller of before means, which sees none of several files."""
    if not request.files or str(error) != NO_FILE:
        return error
    told = (
        "Nothing was applied: the controller is older than this command line and takes one file at a time. Upgrade it, apply "
        "them one after the other, or put them into one file, with a line --- between them."
    )
    return CommandError(Exit.REFUSED, "NEEDS_UPGRADE", told)


def _read(file: str) -> str:
    """Raises CommandError; OSError, which the session tells."""
    if file == STDIN:
        body = sys.stdin.buffer.read(MOST_READ_BYTES)
    else:
        with Path(file).open("rb") as opened:
            body = opened.read(MOST_READ_BYTES)
    if len(body) > LARGEST_BYTES:
        raise CommandError(Exit.USAGE, "BAD_POLICY", f"{too_large(body.decode(errors='replace'), _named(file))}.")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        raise CommandError(Exit.USAGE, "BAD_POLICY", f"{_named(file)}, line {line}: this is not UTF-8.") from error


def _named(file: str) -> str:
    return "standard input" if file == STDIN else file
