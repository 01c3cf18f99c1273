"""What the database holds, kept from its commits alone: small enough to be looked at after each of them."""

from dataclasses import dataclass, field

from seawall.controller.records.limits import Limit, Measure, Scope, ScopeKey, Service
from seawall.controller.records.runs import Attempt, AttemptState, Run, RunKind
from seawall.controller.store.transaction import Transaction

BUILT_IN = {(Scope.HOST, Measure.TRANSFERRING): 3, (Scope.GLOBAL, Measure.TRANSFERRING): 64}
PREPARING = (AttemptState.ASSIGNED, AttemptState.PREPARING)
LIMITS_HOLD_SECONDS = 15.0
"""A plan that was made just before a limit changed may still be carried out."""


@dataclass
class Shadow:
    """`changed`: attempt -> when its state or deadline last changed, simulated seconds."""

    runs: dict[str, Run] = field(default_factory=dict)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    by_vm: dict[str, dict[str, Run]] = field(default_factory=dict)
    """VM -> its open runs."""
    fired: dict[tuple[str, str, int], str] = field(default_factory=dict)
    """(policy, VM, nominal time) -> the run."""
    planned: dict[str, int] = field(default_factory=dict)
    """Run -> when it should begin at first, microseconds."""
    live: dict[str, Attempt] = field(default_factory=dict)
    changed: dict[str, float] = field(default_factory=dict)
    service: dict[str, Service] = field(default_factory=dict)
    limits: dict[tuple[Scope, str, Measure], int] = field(default_factory=dict)
    older: list[tuple[float, tuple[Scope, str, Measure], int | None]] = field(default_factory=list)
    """Values of limits until a time; None: there was none."""
    scopes: dict[str, tuple[ScopeKey, ...]] = field(default_factory=dict)
    """Live attempt -> what it takes a place of, as whoever made the world knows it."""

    def load(self, transaction: Transaction, now: float) -> None:
        """All anew: the database was rolled back."""
        runs = _all_runs(transaction)
        self.runs, self.by_vm, self.fired = {}, {}, {}
        for run in runs:
            self.put_run(run)
        attempts = transaction.runs.attempts_of([run.id for run in runs])
        self.attempts = {attempt.id: attempt for attempt in attempts}
        self.live = {attempt.id: attempt for attempt in attempts if attempt.state.live}
        self.changed = dict.fromkeys(self.live, now)
        self.service = {host.id: host.service for host in transaction.fleet.hosts(limit=100_000)}
        self.limits = {(each.scope, each.key, each.measure): each.value for each in transaction.limits.limits()}

    def put_run(self, run: Run) -> None:
        self.runs[run.id] = run
        self.planned.setdefault(run.id, run.not_before_us)
        if run.policy_id:
            self.fired[(run.policy_id, run.vm_id, run.nominal_us)] = run.id
        mine = self.by_vm.setdefault(run.vm_id, {})
        if run.state.over:
            mine.pop(run.id, None)
        else:
            mine[run.id] = run

    def put_attempt(self, attempt: Attempt, now: float) -> None:
        before = self.attempts.get(attempt.id)
        self.attempts[attempt.id] = attempt
        if before is None or (before.state, before.phase_deadline_us) != (attempt.state, attempt.phase_deadline_us):
            self.changed[attempt.id] = now
        if attempt.state.live:
            self.live[attempt.id] = attempt
        else:
            self.live.pop(attempt.id, None)
            self.changed.pop(attempt.id, None)
            self.scopes.pop(attempt.id, None)

    def set_limit(self, limit: Limit, now: float) -> None:
        where = (limit.scope, limit.key, limit.measure)
        self.older.append((now, where, self.limits.get(where)))
        self.limits[where] = limit.value

    def unset_limit(self, scope: Scope, key: str, measure: Measure, now: float) -> None:
        self.older.append((now, (scope, key, measure), self.limits.get((scope, key, measure))))
        self.limits.pop((scope, key, measure), None)

    def cap(self, where: ScopeKey, measure: Measure, now: float) -> int | None:
        """The greatest of what held within the last seconds; None: nothing limited it in one of them."""
        own, each = (where.scope, where.key, measure), (where.scope, "", measure)
        built_in = BUILT_IN.get((where.scope, measure))
        of_each = self.limits.get(each, built_in)
        values = [self.limits.get(own, of_each)]
        self.older = [old for old in self.older if now - old[0] <= LIMITS_HOLD_SECONDS]
        for _, which, value in self.older:
            if which in (own, each):
                values.append(value if value is not None else built_in if which == each else of_each)
        found = [value for value in values if value is not None]
        return max(found) if len(found) == len(values) else None

    def used(self, where: ScopeKey, measure: Measure = Measure.TRANSFERRING) -> int:
        """Places that are held: what was handed over waits for its store alone."""
        return sum(
            1
            for attempt_id, attempt in self.live.items()
            if not attempt.handed_over
            and where in self.scopes.get(attempt_id, ())
            and (measure is Measure.TRANSFERRING or self.prepares(attempt))
        )

    def prepares(self, attempt: Attempt) -> bool:
        phase = attempt.lost_from if attempt.state is AttemptState.LOST else attempt.state
        return phase in PREPARING and self.runs[attempt.run_id].kind is RunKind.BACKUP

    def open_backups(self, vm_id: str, repository_id: str) -> list[Run]:
        return [
            run
            for run in self.by_vm.get(vm_id, {}).values()
            if run.repository_id == repository_id and run.kind is RunKind.BACKUP
        ]

    def live_of(self, run_id: str) -> list[Attempt]:
        return [attempt for attempt in self.live.values() if attempt.run_id == run_id]

    def open(self) -> list[Run]:
        return [run for mine in self.by_vm.values() for run in mine.values()]


def _all_runs(transaction: Transaction) -> list[Run]:
    found: list[Run] = []
    before = ""
    while page := transaction.runs.runs(before=before, limit=1000):
        found += page
        before = page[-1].id
    return found
