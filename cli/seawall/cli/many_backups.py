"""Ordering backups, however many: what the controller takes at once, how far it is, and who was left out."""

from dataclasses import dataclass, field

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.connection import DEADLINE_SECONDS, Controller, new_request_id
from seawall.cli.exits import CommandError, Exit
from seawall.cli.output import Output
from seawall.cli.sending_again import sent_again
from seawall.cli.text import count
from seawall.cli.watch import MANY

PORTION = 1000
"""VMs of one request where all are meant: a second or two."""
VMS_PER_SECOND = 100
"""So fast the slowest controller orders them."""
SHOWN = 20
NOT_READ = "RUN_UNKNOWN"
"""An order names no run: what a newer controller remembered of its first slice is read as ids of runs."""


@dataclass(slots=True)
class Ordered:
    """`runs`: of all of them, or of none where they are many. `left_out`: some of those that were, and how many they were.

    `all_vms`: all were meant, none was named.
    """

    all_vms: bool
    run_ids: list[str] = field(default_factory=list)
    runs: list[resources_pb2.Run] = field(default_factory=list)
    left_out: list[operator_pb2.SkippedVm] = field(default_factory=list)
    left_out_total: int = 0

    def take(self, answer: operator_pb2.StartBackupResponse) -> None:
        """A controller of before there were ids tells the runs alone."""
        self.run_ids += answer.run_ids or [run.run_id for run in answer.runs]
        self.runs += answer.runs
        self.left_out += answer.skipped
        self.left_out_total += answer.skipped_total

    @property
    def incomplete(self) -> bool:
        """Whether a VM was left out that somebody named, or that has something to back up."""
        return any(not self.all_vms or each.reason != "NO_DISKS" for each in self.left_out)


def order(controller: Controller, output: Output, request: operator_pb2.StartBackupRequest) -> Ordered:
    """`request`: without its id. Raises CommandError; what was ordered before stays."""
    ordered, anew = Ordered(request.all_vms), False
    request.ids_only = request.all_vms or len(request.vms) > MANY
    request.page_size = PORTION if request.all_vms else 0
    while True:
        request.request_id = new_request_id()
        try:
            answer = _answered(controller, output, request)
        except CommandError as error:
            if error.reason != NOT_READ or anew:
                raise _broken_off(error, request, len(ordered.run_ids)) from error
            anew = True
            output.note(
                "An older controller took over and cannot go on with the order. Ordering anew: open runs stay as they are."
            )
            continue
        ordered.take(answer)
        rest = not_told(request, answer)
        if rest:
            output.note(
                f"An older controller took over and knows a part of the order. Ordering the other {count(len(rest), 'VM')}."
            )
            del request.vms[:]
            request.vms.extend(rest)
        elif not answer.next_page_token:
            return ordered
        else:
            request.page_token = answer.next_page_token
            output.note(f"{count(len(ordered.run_ids), 'backup')} ordered, and more to come.")


def not_told(request: operator_pb2.StartBackupRequest, answer: operator_pb2.StartBackupResponse) -> list[str]:
    """Those of the named VMs that the answer says nothing of: of each there is a run, or it was left out, in the order of the names.

    Controllers always tell of all. But one that is older than the order it goes on with may take an answer to a part for the whole.
    """
    told = len(answer.run_ids or answer.runs) + answer.skipped_total
    return list(request.vms[told:]) if told and not request.together else []


def _answered(
    controller: Controller, output: Output, request: operator_pb2.StartBackupRequest
) -> operator_pb2.StartBackupResponse:
    seconds = DEADLINE_SECONDS + len(request.vms) / VMS_PER_SECOND
    if len(request.vms) > PORTION:
        output.note(f"Ordering {count(len(request.vms), 'backup')}; this takes some seconds.")
    answer: operator_pb2.StartBackupResponse = sent_again(
        controller, output, controller.backup.StartBackup, request, "nothing is ordered twice", seconds
    )
    return answer


def _broken_off(error: CommandError, request: operator_pb2.StartBackupRequest, ordered: int) -> CommandError:
    if request.all_vms and error.reason == "NO_VMS":
        told = "The controller is older than this command line and knows no --all: name the VMs."
        error = CommandError(Exit.USAGE, "NEEDS_UPGRADE", told)
    if not ordered:
        return error
    told = f"{error} Ordered before that: {count(ordered, 'backup')}; ask again: no VM gets a second run while one is open."
    return CommandError(error.code, error.reason, told)


def print_left_out(output: Output, ordered: Ordered) -> None:
    """A line for each of the first ones."""
    for each in ordered.left_out[:SHOWN]:
        output.line(f"Not backed up: {each.message}", style="yellow")
    more = ordered.left_out_total - len(ordered.left_out[:SHOWN])
    if more > 0:
        output.line(f"… and {count(more, 'VM')} more not.", style="yellow")


def document(ordered: Ordered) -> dict[str, object]:
    """For --json. Without `runs` where they are many."""
    found: dict[str, object] = {"run_ids": ordered.run_ids}
    if ordered.runs:
        found["runs"] = ordered.runs
    return found | {"skipped": ordered.left_out, "skipped_total": ordered.left_out_total}
