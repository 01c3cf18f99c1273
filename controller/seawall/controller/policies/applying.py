"""What applying a file changes, and the change itself, which is one transaction: all of its policies or none.

The plan reads the fleet and every point that retention judges, so it is made on a read. The writer's transaction decides again what is to
be stored, which reads a few rows, and refuses when that is not what was planned.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from seawall.controller.errors import Aborted, ControllerError
from seawall.controller.forgetting.plan import judged
from seawall.controller.policies.compiled import CompiledSpec
from seawall.controller.policies.doubts import doubts
from seawall.controller.policies.protection import Fleet, fleet_of, idle_doubts
from seawall.controller.policies.render import difference, document_of
from seawall.controller.policies.tenancy import tenant_doubts
from seawall.controller.records.fleet import Vm
from seawall.controller.records.policies import Policy, PolicySpec
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.services.naming import find_repository
from seawall.controller.store.transaction import Transaction
from seawall.repository.clock import Clock, datetime_of, microseconds_of

HISTORY = timedelta(days=14)
"""What its windows ended before says nothing of what it is now."""


class ChangeKind(StrEnum):
    CREATED = "CREATED"
    CHANGED = "CHANGED"
    UNCHANGED = "UNCHANGED"
    REVIVED = "REVIVED"


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """One policy of the file. `before` is None for a new one; `after` is what is stored when it is carried out."""

    kind: ChangeKind
    before: Policy | None
    after: Policy
    difference: tuple[str, ...]
    warnings: tuple[str, ...]
    vm_count: int
    points_to_delete: int


@dataclass(frozen=True, slots=True)
class _Decided:
    """What is stored for one policy of the file."""

    kind: ChangeKind
    before: Policy | None
    after: Policy

    def same_as(self, planned: PolicyChange) -> bool:
        revisions = [each.revision if each is not None else 0 for each in (self.before, planned.before)]
        repositories = (self.after.repository_id, planned.after.repository_id)
        return self.kind is planned.kind and revisions[0] == revisions[1] and repositories[0] == repositories[1]


def plan_changes(transaction: Transaction, specs: Sequence[PolicySpec], clock: Clock) -> list[PolicyChange]:
    """In the order given; changes nothing. Raises NotFound/REPOSITORY_UNKNOWN."""
    fleet, now_us = fleet_of(transaction), clock.now_us()
    return [_planned(transaction, spec, fleet, clock, now_us) for spec in specs]


def carry_out(transaction: Transaction, planned: Sequence[PolicyChange], clock: Clock) -> list[PolicyChange]:
    """What was planned, as it is stored now: firings since then count. What it said of VMs and points is of the moment of the plan.

    Raises Aborted/CHANGED when a policy or its repository is another one than in the plan; NotFound/REPOSITORY_UNKNOWN.
    """
    now_us = clock.now_us()
    changes = []
    for each in planned:
        decided = _decided(transaction, each.after.spec, clock, now_us)
        if not decided.same_as(each):
            raise Aborted("CHANGED", f"Policy {each.after.name} was changed meanwhile; look at it, and apply again.")
        changes.append(replace(each, before=decided.before, after=decided.after))
        _store(transaction, decided)
    return changes


def _store(transaction: Transaction, decided: _Decided) -> None:
    if decided.before is None:
        transaction.policies.add_policy(decided.after)
    elif decided.kind is not ChangeKind.UNCHANGED:
        transaction.policies.save_policy(decided.before, decided.after)
        if decided.after.fired_us != decided.before.fired_us or not decided.after.active:
            transaction.policies.drop_due(decided.after.id)


def warnings_of(
    transaction: Transaction, rules: CompiledSpec, fleet: Fleet, now: datetime, protected: Sequence[Vm]
) -> list[str]:
    """See `doubts`, `idle_doubts` and `tenant_doubts`."""
    durations_us = transaction.policies.durations_us([vm.id for vm in protected], 0)
    known = transaction.policies.policy_named(rules.spec.name)
    cut_off = transaction.policies.cut_off(known.id, microseconds_of(now - HISTORY)) if known is not None else ()
    found = doubts(rules, fleet.seen, protected, durations_us, now, cut_off)
    idle = idle_doubts(transaction, rules, protected)
    return [*found, *idle, *tenant_doubts(transaction, rules, fleet, protected)]


def _planned(transaction: Transaction, spec: PolicySpec, fleet: Fleet, clock: Clock, now_us: int) -> PolicyChange:
    rules, decided = CompiledSpec(spec), _decided(transaction, spec, clock, now_us)
    before, protected = decided.before, fleet.of(rules)
    live = before if before is not None and not before.deleted_us else None
    return PolicyChange(
        decided.kind,
        before,
        decided.after,
        tuple(difference(document_of(live.spec) if live else "", document_of(spec))),
        tuple(warnings_of(transaction, rules, fleet, datetime_of(now_us), protected)),
        len(protected),
        _points_to_delete(transaction, decided.after, now_us),
    )


def _decided(transaction: Transaction, spec: PolicySpec, clock: Clock, now_us: int) -> _Decided:
    before, repository_id = transaction.policies.policy_named(spec.name), _repository_id(transaction, spec)
    kind = _kind(before, spec, repository_id)
    return _Decided(kind, before, _after(kind, before, spec, repository_id, clock, now_us))


def _repository_id(transaction: Transaction, spec: PolicySpec) -> str:
    try:
        return find_repository(transaction, spec.repository).id
    except ControllerError as error:
        raise type(error)(error.reason, f"Policy {spec.name}: {error}", error.metadata) from error


def _kind(before: Policy | None, spec: PolicySpec, repository_id: str) -> ChangeKind:
    if before is None:
        return ChangeKind.CREATED
    if before.deleted_us:
        return ChangeKind.REVIVED
    same = before.spec == spec and before.repository_id == repository_id
    return ChangeKind.UNCHANGED if same else ChangeKind.CHANGED


def _after(
    kind: ChangeKind, before: Policy | None, spec: PolicySpec, repository_id: str, clock: Clock, now_us: int
) -> Policy:
    """Another calendar, and a policy that was paused or deleted, begin now: what they would have done before is not caught up."""
    if before is None:
        return Policy(uuid7(clock), 1, spec, repository_id, now_us, now_us, now_us)
    if kind is ChangeKind.UNCHANGED:
        return before
    same_calendar = before.spec.calendar == spec.calendar and before.active
    return replace(
        before,
        revision=before.revision + 1,
        spec=spec,
        repository_id=repository_id,
        changed_us=now_us,
        fired_us=before.fired_us if same_calendar else now_us,
        deleted_us=0,
    )


def _points_to_delete(transaction: Transaction, after: Policy, now_us: int) -> int:
    if after.spec.retention.keeps_nothing:
        return 0
    verdicts = judged(transaction, after.id, after.spec.retention, now_us, CompiledSpec(after.spec).zone)
    return sum(not each.keep for some in verdicts for each in some)
