"""What is wrong with VMs under one policy, and what of it is news. Pure: what was known and what is seen now in, changes out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from seawall.controller.policies.lateness import is_late
from seawall.controller.records.catalogue import Point
from seawall.controller.records.hooks import EndedRun, Event, Trouble
from seawall.controller.records.policies import PolicySpec
from seawall.controller.records.runs import RunState
from seawall.controller.timings import SECOND_US

_BAD = {RunState.FAILED: Event.FAILED, RunState.MISSED: Event.MISSED}
_GOOD = (RunState.SUCCEEDED, RunState.SUCCEEDED_WITH_WARNINGS)


@dataclass(frozen=True, slots=True)
class News:
    """`came`: troubles that were not there; `gone`: those that are over; `recovered`: ids of VMs that have none left."""

    came: tuple[Trouble, ...] = ()
    gone: tuple[Trouble, ...] = ()
    recovered: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.came or self.gone)


def after_runs(known: Iterable[Trouble], policy_id: str, ended: Iterable[EndedRun]) -> list[Trouble]:
    """The troubles once these runs, in the order of their ends, are looked at. Looked at again, they change nothing.

    A run that failed twice in a row stays one trouble. What an operator cancelled or what was skipped says nothing about the VM; what its
    window ended left the night without a point, as a failure does.
    """
    now = {(each.vm_id, each.event): each for each in known}
    for run in ended:
        event = Event.FAILED if run.state is RunState.CANCELED and run.cut_off else _BAD.get(run.state)
        if event is not None:
            trouble = Trouble(policy_id, run.vm_id, event, run.ended_us, run.id, run.message)
            now.setdefault((run.vm_id, event), trouble)
        elif run.state in _GOOD:
            for each in _BAD.values():
                now.pop((run.vm_id, each), None)
    return list(now.values())


def protected_still(known: Iterable[Trouble], vm_ids: Collection[str]) -> list[Trouble]:
    """Of VMs that the policy protects no more nothing is known any more."""
    return [each for each in known if each.vm_id in vm_ids]


def with_rpo(
    known: Iterable[Trouble],
    policy_id: str,
    newest_us: Mapping[str, int],
    rpo_seconds: int,
    asked_us: Mapping[str, int],
    now_us: int,
) -> list[Trouble]:
    """`newest_us`: VM id -> instant of its newest point, 0 for none. `asked_us`: see `is_late`; but who was late before stays so."""
    kept = {(each.vm_id, each.event): each for each in known}
    allowed_us = rpo_seconds * SECOND_US
    for vm_id, instant_us in newest_us.items():
        key = vm_id, Event.RPO
        if not rpo_seconds or now_us - instant_us <= allowed_us:
            kept.pop(key, None)
        elif key not in kept and is_late(instant_us, asked_us.get(vm_id, now_us), rpo_seconds, now_us):
            told = (
                "Its newest point is older than the policy's RPO." if instant_us else "It has no point of this policy."
            )
            kept[key] = Trouble(policy_id, vm_id, Event.RPO, now_us, "", told)
    return list(kept.values())


def with_damage(
    known: Iterable[Trouble], policy_id: str, flawed: Iterable[Point], protected: Collection[str], now_us: int
) -> list[Trouble]:
    """`flawed`: points of the policy that are not whole, oldest first. `protected`: of other VMs nothing is told."""
    newest = {point.vm_id: point for point in flawed if point.vm_id in protected}
    kept = {(each.vm_id, each.event): each for each in known}
    for vm_id in protected:
        point = newest.get(vm_id)
        if point is None:
            kept.pop((vm_id, Event.DAMAGED), None)
        elif (vm_id, Event.DAMAGED) not in kept:
            told = (
                f"Its point {point.id} cannot be read back whole: `seawall point show` and `seawall job list` say more."
            )
            kept[vm_id, Event.DAMAGED] = Trouble(policy_id, vm_id, Event.DAMAGED, now_us, "", told)
    return list(kept.values())


def news(before: Sequence[Trouble], now: Sequence[Trouble], protected: Collection[str] | None = None) -> News:
    """`protected`: VMs of which more is told; None: all. One that is protected no more did not recover."""
    were, are = {_key(each): each for each in before}, {_key(each): each for each in now}
    gone = tuple(each for key, each in were.items() if key not in are)
    still = {each.vm_id for each in now}
    over = sorted({each.vm_id for each in gone} - still)
    return News(
        tuple(each for key, each in are.items() if key not in were),
        gone,
        tuple(vm_id for vm_id in over if protected is None or vm_id in protected),
    )


def told(found: News, events: Collection[Event]) -> News:
    """What of it the policy tells, and keeps. Who was not told of the trouble is not told that it is over."""
    spoken = {each.vm_id for each in found.gone if each.event in events}
    recovered = tuple(vm_id for vm_id in found.recovered if vm_id in spoken) if Event.RECOVERED in events else ()
    return replace(found, recovered=recovered)


def wanted(policy: PolicySpec) -> frozenset[Event]:
    """What is known of VMs under it: what it tells, if it asks for it."""
    without = () if policy.rpo_seconds else (Event.RPO,)
    return frozenset(policy.hooks.events) - set(without)


def _key(trouble: Trouble) -> tuple[str, Event]:
    return trouble.vm_id, trouble.event
