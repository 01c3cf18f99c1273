"""Why a run waits, as people read it, and who has what it waits for."""

from collections.abc import Iterable
from datetime import datetime

from seawall.api.v1 import limits_pb2, resources_pb2
from seawall.cli.output import Output
from seawall.cli.run_text import print_failure
from seawall.cli.text import age, count, duration, local
from seawall.cli.view import word


def print_holders(output: Output, holders: Iterable[limits_pb2.Holder]) -> None:
    rows = [
        (
            each.run_id,
            word(each, "kind"),
            each.vm_name,
            each.host_name,
            "preparing" if each.preparing else "transferring",
            local(each.since),
            f"{100 * each.read_bytes // each.planned_bytes} %" if each.planned_bytes else "",
            duration(each.eta_seconds) if each.eta_seconds else "",
        )
        for each in holders
    ]
    output.table(("#RUN", "KIND", "VM", "HOST", "PHASE", "SINCE", ">DONE", ">LEFT"), rows, "")


def print_explanation(output: Output, found: limits_pb2.ExplainRunResponse, now: datetime) -> None:
    """Why a run waits, what was chosen, what would help."""
    run = found.run
    output.line(f"{word(run, 'kind')} of {run.vm_name}: {word(run, 'state').replace('_', ' ')}", style="bold")
    output.line(f"asked        {age(run.created_at, now)}, class {found.admission_class}")
    if found.no_point_yet:
        output.line("lateness     no point yet: first in line, before those that have one")
    elif found.lateness:
        output.line(f"lateness     {found.lateness:.1f} times its objective")
    if found.HasField("blocked_on"):
        blocked = found.blocked_on
        output.line(f"waits        {blocked.sentence}")
        if blocked.cap:
            output.line(f"limit        {blocked.scope} {blocked.measure}: {blocked.used} of {blocked.cap} in use")
        if run.state == resources_pb2.RUN_STATE_READY:
            output.line(f"ahead        {count(found.ahead, 'run')}")
    elif run.state == resources_pb2.RUN_STATE_READY:
        output.line("waits        for nothing: it starts with the scheduler's next look")
    if run.HasField("failure"):
        print_failure(output, run.failure)
    for title, sentences in (("chosen", found.chosen), ("disks", found.disks), ("advice", found.advice)):
        for number, sentence in enumerate(sentences):
            output.line(f"{title if number == 0 else '':<13}{sentence}")
    if found.holders:
        output.line("")
        print_holders(output, found.holders)
