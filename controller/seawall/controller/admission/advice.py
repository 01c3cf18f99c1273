"""What would make a run start sooner, or go faster: sentences for an operator, each with something to do. Pure."""

from collections.abc import Sequence

from seawall.controller.admission.caps import EACH
from seawall.controller.admission.facts import FleetFacts
from seawall.controller.admission.gates import BlockedOn
from seawall.controller.admission.words import scope_word
from seawall.controller.records.limits import Measure, Scope, ScopeKey, Service
from seawall.controller.records.runs import Attempt, AttemptState, Progress, ReadMethod, RunKind
from seawall.controller.runs.silence import Silence, is_heard
from seawall.controller.timings import SECOND_US

BOTTLENECKS = {
    "source": "The disks of the VM are what is waited for: faster storage, or fewer runs on it at once, would help.",
    "cpu": "The host's processors are what is waited for: fewer runs at once on this host would let each go faster.",
    "network": "The network to the store is what is waited for.",
    "store": "The store is what is waited for: look at its load, or let fewer runs write to this repository at once.",
}


def to_start(facts: FleetFacts, blocked: BlockedOn, first_end_seconds: int) -> list[str]:
    """Of a run that waits. `first_end_seconds`: until the first holder of what it waits for is done, 0: unknown."""
    where = ScopeKey(blocked.scope, blocked.key)
    told = _to_reach(facts, where)
    if told:
        return told
    if first_end_seconds:
        told.append(f"The first of those that hold it is done in about {max(1, round(first_end_seconds / 60))} min.")
    if where in facts.breakers and not blocked.cap > 1:
        word = scope_word(facts, where)
        told.append(f"Find out why attempts on {word} fail; it is tried again by itself, and one success ends this.")
    elif blocked.cap and blocked.scope is not Scope.VM:
        told.append(_raise(facts, blocked, where))
    return told


def _to_reach(facts: FleetFacts, where: ScopeKey) -> list[str]:
    """Of a host where nothing begins, whatever is free: what `unreachable_host` says, in its order. A revoked one is so for ever."""
    host = facts.hosts.get(where.key) if where.scope is Scope.HOST else None
    if host is None or host.revoked:
        return []
    if not is_heard(facts.sessions.get(host.id), facts.now_us):
        return to_be_heard(host.name)
    if host.service is not Service.IN_SERVICE:
        return [f"Once the work on host {host.name} is done: seawall host uncordon {host.name} lets runs begin there."]
    return []


def _raise(facts: FleetFacts, blocked: BlockedOn, where: ScopeKey) -> str:
    """The command that sets the limit where it stands."""
    cap = facts.caps.cap(where, blocked.measure)
    key = where.key if cap is None or cap.source == "set" or where.scope is Scope.GLOBAL else EACH
    option = "--preparing" if blocked.measure is Measure.PREPARING else "--transferring"
    present = cap.value if cap is not None else blocked.cap
    word = scope_word(facts, ScopeKey(where.scope, key))
    return f"The limit is {present}: seawall limit set {word!r} {option} {present + 1} raises it."


def to_go_faster(progress: Progress) -> list[str]:
    """Of a run at work."""
    told = [f"At this moment it waits for {progress.waiting_on}."] if progress.waiting_on else []
    if progress.bottleneck in BOTTLENECKS:
        told.append(BOTTLENECKS[progress.bottleneck])
    whole = [disk.disk for disk in progress.disks if disk.how in (ReadMethod.FULL, ReadMethod.COMPARE)]
    if whole:
        told.append(f"{', '.join(whole)} {'is' if len(whole) == 1 else 'are'} read whole, for the reason above.")
    return told


def silent_host(host_name: str, attempt: Attempt, kind: RunKind, silence: Silence, now_us: int) -> str:
    """What a run under way waits for whose host is not heard of any more. No instants: the reader's zone is not known here."""
    age_seconds = max(0, (now_us - silence.since_us) // SECOND_US)
    meanwhile = _meanwhile(attempt, kind, silence, now_us)
    return f"host {host_name} to be heard of again: nothing for {age_seconds:,} s; {meanwhile}"


def _meanwhile(attempt: Attempt, kind: RunKind, silence: Silence, now_us: int) -> str:
    if attempt.state is AttemptState.ASSIGNED:
        return f"it has not begun the {kind.lower()} yet"
    told = f"its {kind.lower()} may still go on there"
    if silence.given_up_us > now_us:
        left_seconds = (silence.given_up_us - now_us) // SECOND_US
        told += f", and is given up in {left_seconds:,} s if the host stays away"
    return told


def not_begun(host_name: str, attempt: Attempt, kind: RunKind, now_us: int) -> str:
    """What a run waits for whose host is heard of, but did not take it yet."""
    given_seconds = max(0, now_us - attempt.created_us) // SECOND_US
    told = f"host {host_name} to begin the {kind.lower()}: given to it {given_seconds:,} s ago"
    if attempt.phase_deadline_us > now_us:
        told += f", and given out anew in {(attempt.phase_deadline_us - now_us) // SECOND_US:,} s if it does not"
    return told


def to_be_heard(host_name: str) -> list[str]:
    """Of a run whose host is silent: nothing that would make a run faster helps."""
    return [
        f"Look at host {host_name}: whether it runs, whether its agent does (there: systemctl status seawall-agent), and its "
        "network to the controller."
    ]


def read_sentences(progress: Progress) -> Sequence[str]:
    """How each disk is read, and why not in a better way."""
    ways = {
        ReadMethod.BITMAP: "only what changed",
        ReadMethod.COMPARE: "whole, compared with the parent point",
        ReadMethod.FULL: "whole",
    }
    return [
        f"{disk.disk}: {ways[disk.how]}{f' ({disk.why})' if disk.why else ''}"
        for disk in progress.disks
        if disk.how in ways
    ]
