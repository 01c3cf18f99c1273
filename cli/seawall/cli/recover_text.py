"""What `seawall controller recover` tells: what was found, what came back, what did not, and what to do next."""

from typing import TYPE_CHECKING, Any

from seawall.cli.output import Output
from seawall.cli.text import iso_time

if TYPE_CHECKING:
    from seawall.controller.recovering.recovery import Recovered

NEVER_BACK = (
    "runs, jobs and their histories",
    "join tokens",
    "circuit breakers",
    "where policies stood in their calendars: they begin anew",
    "what was exported last before the newest export, and what changed after it",
)
"""Nothing that a bucket holds says it."""


def recovery_document(found: "Recovered", *, plan: bool) -> dict[str, Any]:
    """The answer of `--json`."""
    back, adopted = found.put_back, found.adopted
    return {
        "plan": plan,
        "repository": {
            "name": found.name,
            "id": found.repository_id,
            "url": found.url,
            "lineage_id": found.lineage_id,
        },
        "found": {
            "points": found.points_found,
            "vms": found.vms_found,
            "export": found.export.name if found.export else "",
            "exported_at": iso_time(found.export.exported_us) if found.export else "",
            "last_leader": found.leader_before,
        },
        "recovered": {
            "points": adopted.points,
            "points_known": adopted.known,
            "points_refused": adopted.refused,
            "points_without_facts": adopted.without_facts,
            "points_verified": adopted.verified,
            "hosts": back.hosts,
            "vms": len(adopted.vms) if adopted.vms else back.vms,
            "policies": back.policies,
            "limits": back.limits,
            "settings": back.settings,
            "holds": back.holds,
            "users": back.users,
        },
        "hosts_must_join": back.must_join,
        "policies_waiting": back.policies_waiting,
        "left_out": back.left_out,
        "never_back": list(NEVER_BACK),
        "notes": found.notes,
        "next": next_steps(found, plan=plan),
    }


def print_recovery(output: Output, found: "Recovered", *, plan: bool) -> None:
    export = f"the export of {iso_time(found.export.exported_us)}" if found.export else "no export"
    output.line(
        f"Repository {found.name} at {found.url}: {found.points_found} points of {found.vms_found} VMs, {export}."
    )
    for note in found.notes:
        output.note(note)
    if plan:
        output.line("Nothing was changed. Without --plan:")
    else:
        _print_result(output, found)
    for step in next_steps(found, plan=plan):
        output.line(f"  {step}")


def _print_result(output: Output, found: "Recovered") -> None:
    back, adopted = found.put_back, found.adopted
    output.line(
        f"Recovered: {adopted.points} points ({adopted.known} were there already), {len(back.hosts)} hosts, "
        f"{len(adopted.vms)} VMs with points, {len(back.policies)} policies, {back.limits} limits, "
        f"settings of {back.settings} VMs, {back.holds} holds, {len(back.users)} users."
    )
    for point_id, why in sorted(adopted.refused.items()):
        output.line(f"Point {point_id} was not taken over: {why}.")
    if adopted.without_facts:
        output.line(
            f"{adopted.without_facts} points are newer than the export: no policy deletes them, and who took them is not known."
        )
    for policy, url in sorted(back.policies_waiting.items()):
        output.line(f"Policy {policy} waits for its repository: recover {url} too.")
    for what in back.left_out:
        output.line(f"Left out: {what}.")
    output.line(f"Not in any bucket: {'; '.join(NEVER_BACK)}.")
    output.line("Next:")


def next_steps(found: "Recovered", *, plan: bool) -> list[str]:
    """Sentences."""
    back = found.put_back
    steps = []
    if plan:
        steps.append("Be sure that the controller of before runs no more, then give the same command without --plan.")
        if not found.export:
            steps.append("Policies, limits, holds and names of hosts will not come back: the bucket holds no export.")
        return steps
    steps += [f"Recover {url} too: policies need it." for url in sorted(set(back.policies_waiting.values()))]
    steps.append("seawall controller run")
    if back.must_join:
        steps.append(
            "This is another controller than the hosts know. On each of them: seawall agent join --force TOKEN (seawall host token). "
            "The VMs that it reports are its own from then on; their next backup reads everything and uploads what is not verified."
        )
        if back.users:
            steps.append(
                f"The tokens of its users are good here, their operator files trust another controller: "
                f"{', '.join(back.users)} need new ones (seawall user renew)."
            )
    elif back.hosts:
        steps.append("The hosts come back by themselves: their certificates are this controller's.")
    steps.append(f"seawall repo check {found.name}, to prove that every point is whole")
    return steps
