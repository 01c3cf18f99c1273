"""What would go and what would stay, with a reason each: read in one transaction, changed by nothing."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from itertools import groupby

from seawall.controller.forgetting.retention import Candidate, Policy, Verdict, judge
from seawall.controller.forgetting.usage import pinned_by
from seawall.controller.records.catalogue import Point, PointMark, PointState
from seawall.controller.store.transaction import Transaction

ASKED = "asked for"
LAST_OF_VM = "asked for; the VM's last point"
PAGE = 1000
SLICE = 1000
"""Points that are judged at once, and a group's rest."""


@dataclass(frozen=True, slots=True)
class PlannedPoint:
    """One line of a plan."""

    point: Point
    keep: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose points a policy is about: of these VMs (none named: all) in this repository ("": any), made by this policy ("": by any)."""

    vm_ids: tuple[str, ...] = ()
    repository_id: str = ""
    policy_id: str = ""


def plan_policy(
    transaction: Transaction, scope: Scope, policy: Policy, now_us: int, zone: tzinfo = UTC
) -> list[PlannedPoint]:
    """By VM, repository, then newest first. Each VM is judged in each repository for itself. Raises ValueError: it keeps nothing."""
    points = sorted(_points(transaction, scope), key=_group)
    ids = [point.id for point in points]
    in_use, nominal_us = pinned_by(transaction, ids), transaction.points.nominal_us(ids)
    planned: list[PlannedPoint] = []
    for _, group in groupby(points, key=_group):
        by_id = {point.id: point for point in group}
        candidates = [_candidate(point, in_use, nominal_us.get(point.id, 0)) for point in by_id.values()]
        verdicts = judge(candidates, policy, now_us, zone)
        planned += [PlannedPoint(by_id[verdict.id], verdict.keep, verdict.reasons) for verdict in verdicts]
    return planned


def judged(
    transaction: Transaction,
    policy_id: str,
    policy: Policy,
    now_us: int,
    zone: tzinfo = UTC,
    vm_ids: Collection[str] = (),
) -> Iterator[list[Verdict]]:
    """The verdicts of `plan_policy` on all points of a policy, in slices of whole groups: never more than some of them are in memory.

    `vm_ids`: only their points; (): all. Raises ValueError: it keeps nothing.
    """
    for groups in _slices(transaction.points.marks(policy_id, vm_ids)):
        in_use = pinned_by(transaction, [mark.id for group in groups for mark in group])
        yield [
            verdict
            for group in groups
            for verdict in judge([_candidate(mark, in_use, mark.nominal_us) for mark in group], policy, now_us, zone)
        ]


def _slices(marks: Iterable[PointMark]) -> Iterator[list[list[PointMark]]]:
    """Groups, so many that together they have SLICE points."""
    found: list[list[PointMark]] = []
    for _, group in groupby(marks, key=_group):
        found.append(list(group))
        if sum(map(len, found)) >= SLICE:
            yield found
            found = []
    if found:
        yield found


def plan_deletion(transaction: Transaction, points: Sequence[Point]) -> list[PlannedPoint]:
    """Every point goes but those in use, which stay with who uses them. One that is the last of its VM in its repository says so."""
    by_id = {point.id: point for point in points}
    in_use = pinned_by(transaction, list(by_id))
    going = by_id.keys() - in_use.keys()
    groups = {_group(by_id[point_id]) for point_id in going}
    emptied = {group for group in groups if not _left(transaction, group, going)}
    return [
        PlannedPoint(point, True, (f"in use by {in_use[point.id]}",))
        if point.id in in_use
        else PlannedPoint(point, False, (LAST_OF_VM if _group(point) in emptied else ASKED,))
        for point in by_id.values()
    ]


def confirmed(planned: Sequence[PlannedPoint], point_ids: Sequence[str]) -> list[PlannedPoint]:
    """The plan as somebody saw it: what he did not see go stays, as it came to the list since."""
    seen = set(point_ids)
    return [
        each if each.keep or each.point.id in seen else replace(each, keep=True, reasons=("not in the plan",))
        for each in planned
    ]


def _left(transaction: Transaction, group: tuple[str, str, str], going: Collection[str]) -> bool:
    """Whether an AVAILABLE point of the VM in the repository remains."""
    _, vm_id, repository_id = group
    there = _points(transaction, Scope((vm_id,), repository_id))
    return any(point.state is PointState.AVAILABLE and point.id not in going for point in there)


def _candidate(point: Point | PointMark, in_use: dict[str, str], nominal_us: int) -> Candidate:
    return Candidate(
        id=point.id,
        seq=point.seq,
        instant_us=point.instant_us,
        nominal_us=nominal_us,
        open=point.state is not PointState.AVAILABLE,
        damaged=bool(point.damaged),
        in_use=in_use.get(point.id, ""),
    )


def _points(transaction: Transaction, scope: Scope) -> Iterator[Point]:
    for vm_id in scope.vm_ids or ("",):
        before = ""
        while page := transaction.points.points(
            before=before, limit=PAGE, vm_id=vm_id, repository_id=scope.repository_id, policy_id=scope.policy_id
        ):
            yield from page
            before = page[-1].id


def _group(point: Point | PointMark) -> tuple[str, str, str]:
    return point.vm_name, point.vm_id, point.repository_id
