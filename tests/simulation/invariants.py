"""What must hold after each commit, whatever happened: design/control.md, section i. Each finding is a sentence told to the world."""

from collections import Counter
from typing import TYPE_CHECKING

from seawall.controller.admission.shares import FLOOR_BYTES_PER_SECOND
from seawall.controller.records.catalogue import PointState
from seawall.controller.records.limits import Measure, Scope, ScopeKey, Service
from seawall.controller.records.runs import Attempt, AttemptState, Run, RunKind, RunState

from .firings import Firings
from .shadow import Shadow
from .watching import Committed

if TYPE_CHECKING:
    from .world import World

WHOLE = ScopeKey(Scope.GLOBAL, "")
BY_TIME = {"HOST_LOST", "NO_PROGRESS", "PREPARE_TIMEOUT"}
"""Reasons of failures that nobody reports."""


class Invariants:
    """`committed` hears of every transaction."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.shadow = Shadow()
        self.firings = Firings(world)
        self.led_since: dict[str, float] = {}
        """Holder -> when it took the lead."""
        self._waited: set[tuple[str, str, int]] = set()
        self.looked: Counter[str] = Counter()
        """Commits that were looked at, and the calls in them by name."""

    @property
    def published(self) -> int:
        return self.looked["make_available"]

    def committed(self, committed: Committed) -> None:
        now = self._world.now
        self.looked.update(("commit", *(call.name for call in committed.calls)))
        for call in committed.named("take"):
            if call.result is not None:
                self.led_since[call.result.holder] = now
                self._world.note(f"{committed.process.name} leads, epoch {call.result.epoch}")
        self._limits(committed)
        for call in committed.named("put_due"):
            firing = call.given[0]
            self._waited.add((firing.policy_id, firing.vm_id, firing.nominal_us))
        for run in committed.added_runs:
            self._new_run(run, committed)
        for run_before, run in committed.saved_runs:
            self._run_moved(run_before, run, committed)
        for before, attempt in committed.saved_attempts:
            self._attempt_moved(before, attempt, committed)
        for call in committed.named("add_attempt"):
            self._new_attempt(call.given[0], committed)
        for call in committed.named("save_shares"):
            self._shared(call.given[1], committed)
        for call in committed.named("begin_delete"):
            self._deleting(call.given[0])
        for point_id in _adopted(committed):
            self._world.note(f"point {point_id} is adopted")
        for call in committed.named("take_back"):
            self._taken_back(call.given[0], committed)
        for call in committed.named("make_available"):
            self._published(call.given[0])
        self.firings.committed(committed)

    def _limits(self, committed: Committed) -> None:
        now = self._world.now
        for call in committed.calls:
            if call.name == "set_limit":
                self.shadow.set_limit(call.given[0], now)
            elif call.name == "unset_limit":
                scope, key, measure = call.given[:3]
                self.shadow.unset_limit(scope, key, measure, now)
            elif call.name == "set_service":
                self.shadow.service[call.given[0]] = call.given[1]

    def _new_run(self, run: Run, committed: Committed) -> None:
        if run.id in self.shadow.runs:
            self._world.problem(f"run {run.id} is made a second time")
        if run.state is RunState.READY and run.kind is RunKind.BACKUP:
            others = self.shadow.open_backups(run.vm_id, run.repository_id)
            rivals = [each for each in others if each.policy_id == run.policy_id or each.state is RunState.ACTIVE]
            if rivals:
                self._world.problem(f"run {run.id} is made while {rivals[0].id} backs up {run.vm_name}")
        if run.policy_id:
            self._fired(run, committed)
        self.shadow.put_run(run)
        self._world.note(f"run {run.id} of {run.vm_name} {run.state.value} {run.nominal_us or 'by hand'}")

    def _fired(self, run: Run, committed: Committed) -> None:
        self._only_the_leader(committed, f"fires run {run.id}")
        twin = self.shadow.fired.get((run.policy_id, run.vm_id, run.nominal_us))
        if twin:
            self._world.problem(f"policy fires twice for {run.vm_name} at {run.nominal_us}: {twin} and {run.id}")
        waited = (run.policy_id, run.vm_id, run.nominal_us) in self._waited
        late_us = self._world.wall_us(committed.process) - run.nominal_us
        longest_us = self._world.longest_interval_us + 120_000_000
        if run.state is RunState.READY and late_us > longest_us and not waited:
            self._world.problem(
                f"run {run.id} catches up a time that a later one had replaced, {late_us // 1_000_000} s ago"
            )

    def _run_moved(self, before: Run, run: Run, committed: Committed) -> None:
        adopted, taken_back = _adopted(committed), _taken_back(committed)
        good_again = run.id in taken_back and run.state is RunState.SUCCEEDED_WITH_WARNINGS
        if before.state.over and run.id not in adopted and not good_again:
            self._world.problem(f"run {run.id} was {before.state.value} and is {run.state.value}")
        if before.state is not run.state:
            why = run.failure.reason if run.failure else ""
            self._world.note(f"run {run.id} of {run.vm_name} {run.state.value} {why}")
        good = run.state in (RunState.SUCCEEDED, RunState.SUCCEEDED_WITH_WARNINGS)
        made = [*adopted, *taken_back, *(call.given[0] for call in committed.named("make_available"))]
        if good and before.state is not run.state and run.kind is RunKind.BACKUP and run.id not in made:
            self._world.problem(f"run {run.id} is {run.state.value} without its point")
        if run.state is RunState.ACTIVE and not run.current_attempt:
            self._world.problem(f"run {run.id} is ACTIVE and nobody works on it")
        self.shadow.put_run(run)

    def _new_attempt(self, attempt: Attempt, committed: Committed) -> None:
        run = self.shadow.runs[attempt.run_id]
        if run.id in _adopted(committed):
            self.shadow.put_attempt(attempt, self._world.now)
            return
        self._only_the_leader(committed, f"assigns attempt {attempt.id}")
        rivals = self.shadow.live_of(run.id)
        if rivals:
            self._world.problem(
                f"attempt {attempt.id} begins while {rivals[0].id} of its run is {rivals[0].state.value}"
            )
        if run.current_attempt != attempt.id or run.state is not RunState.ACTIVE:
            self._world.problem(f"attempt {attempt.id} begins and is not its run's")
        others = self.shadow.open_backups(run.vm_id, run.repository_id) if run.kind is RunKind.BACKUP else []
        for other in others:
            if other.id != run.id and other.state is RunState.ACTIVE:
                self._world.problem(f"attempt {attempt.id} begins while run {other.id} backs up {run.vm_name}")
        if attempt.db_epoch != committed.db_epoch:
            self._world.problem(f"attempt {attempt.id} begins with an old epoch of the database")
        if self.shadow.service.get(attempt.host_id, Service.IN_SERVICE) is not Service.IN_SERVICE:
            self._world.problem(f"attempt {attempt.id} begins on a host that takes nothing new")
        self.shadow.put_attempt(attempt, self._world.now)
        self.shadow.scopes[attempt.id] = self._world.scopes(run, attempt.host_id)
        self._world.note(
            f"attempt {attempt.id} of {run.vm_name} no {attempt.no} on {self._world.host_name(attempt.host_id)}"
        )
        self._keeps_to_caps(attempt, run)

    def _keeps_to_caps(self, attempt: Attempt, run: Run) -> None:
        """Everything that it takes a place of, counted with it."""
        restore = run.kind is RunKind.RESTORE
        for where in self.shadow.scopes[attempt.id]:
            for measure in (Measure.TRANSFERRING,) if restore else (Measure.TRANSFERRING, Measure.PREPARING):
                cap = self.shadow.cap(where, measure, self._world.now)
                if cap is None:
                    continue
                self.looked[f"{where.scope.lower()}, {measure.lower()}"] += 1
                kept, used = 0 if restore else kept_for_restores(where, measure, cap), self.shadow.used(where, measure)
                if used > cap - kept:
                    word = f"{where.scope.lower()} {self._world.host_name(where.key)}"
                    self._world.problem(
                        f"{used} attempts {measure.lower()} on {word}, the limit is {cap} ({kept} kept)"
                    )

    def _shared(self, now_us: int, committed: Committed) -> None:
        """Of hosts that reported before: what they are told is together no more than any budget, and the floor of each."""
        self._only_the_leader(committed, "shares bandwidth")
        since_us = now_us - int(self._world.timings.share_valid_seconds * 1_000_000)
        told = [each for each in committed.traffic if since_us <= each.reported_us <= now_us and each.share_us]
        sites = {ScopeKey(Scope.SITE, site) for site in self._world.sites.values()}
        for where in (WHOLE, *sorted(sites), *(ScopeKey(Scope.HOST, each.host_id) for each in told)):
            budget = self.shadow.cap(where, Measure.BANDWIDTH, self._world.now)
            if budget is None:
                continue
            shares = [each.share_bytes_per_second for each in told if where in self._world.scopes_of_host(each.host_id)]
            self.looked[f"{where.scope.lower()}, bandwidth"] += 1
            # A share of 0 is none: whoever is told so keeps to nothing.
            if 0 in shares or sum(shares) > budget + len(shares) * FLOOR_BYTES_PER_SECOND:
                self._world.problem(f"shares {shares} of {where.scope.lower()} {where.key}, the budget is {budget}")

    def _attempt_moved(self, before: Attempt, attempt: Attempt, committed: Committed) -> None:
        state, run = attempt.state, self.shadow.runs[attempt.run_id]
        good_again = run.id in _taken_back(committed) and state is AttemptState.SUCCEEDED
        if not before.state.live and state is not before.state and run.id not in _adopted(committed) and not good_again:
            self._world.problem(f"attempt {attempt.id} was {before.state.value} and is {state.value}")
        if before.state is not state:
            why = attempt.failure.reason if attempt.failure else ""
            self._world.note(f"attempt {attempt.id} of {run.vm_name} {before.state.value} -> {state.value} {why}")
            if state is AttemptState.PUBLISHING:
                self._hands_in(before, attempt, committed)
            if _by_time(attempt):
                self._expires(attempt, committed)
        self.shadow.put_attempt(attempt, self._world.now)

    def _hands_in(self, before: Attempt, attempt: Attempt, committed: Committed) -> None:
        run = self.shadow.runs[attempt.run_id]
        if run.current_attempt != attempt.id or run.state is not RunState.ACTIVE or not before.state.live:
            self._world.problem(f"attempt {attempt.id} hands in and is not its run's present one")
        if attempt.db_epoch != committed.db_epoch:
            self._world.problem(f"attempt {attempt.id} hands in with an old epoch of the database")
        if run.cancel_us:
            self._world.problem(f"attempt {attempt.id} hands in and its run was canceled before")
        self._only_the_leader(committed, f"takes the hand-in of {attempt.id}")

    def _expires(self, attempt: Attempt, committed: Committed) -> None:
        """Only by the leader, and not soon after it began to lead: until then nobody could reach it."""
        self._only_the_leader(committed, f"expires attempt {attempt.id}")
        timings = self._world.timings
        since = self.led_since.get(self._world.holders.get(committed.process, ""), 0.0)
        grace = timings.failover_grace_seconds - timings.lease_ttl_seconds / 2 - 1.0
        if self._world.now - since < grace:
            passed = self._world.now - since
            self._world.problem(
                f"attempt {attempt.id} is {attempt.state.value} {passed:.0f} s after its controller began to lead"
            )

    def _only_the_leader(self, committed: Committed, what: str) -> None:
        if self._world.holders.get(committed.process) != committed.holder:
            self._world.problem(f"{committed.process.name} {what} and does not lead")

    def _deleting(self, point_id: str) -> None:
        self._world.truth.deleted.add(point_id)
        self._world.note(f"point {point_id} is given up")
        if point_id in self._world.held:
            self._world.problem(f"point {point_id} is deleted and somebody holds it")

    def _published(self, point_id: str) -> None:
        run = self.shadow.runs[point_id]
        self._world.truth.published(point_id, run.current_attempt)

    def _taken_back(self, point_id: str, committed: Committed) -> None:
        """It was given up, and the bucket had taken it all the same: what it restores is what its attempt captured."""
        self._world.note(f"point {point_id} is taken back")
        attempts = [attempt for _, attempt in committed.saved_attempts if attempt.run_id == point_id]
        if not attempts:
            self._world.problem(f"point {point_id} is taken back without its attempt")
        for attempt in attempts:
            self._world.truth.published(point_id, attempt.id)


def kept_for_restores(where: ScopeKey, measure: Measure, cap: int) -> int:
    """One place of a host, a tenth of the whole; never all."""
    if measure is not Measure.TRANSFERRING or where.scope not in (Scope.HOST, Scope.GLOBAL):
        return 0
    return min(1 if where.scope is Scope.HOST else -(-cap // 10), cap - 1)


def _adopted(committed: Committed) -> list[str]:
    """Points that the bucket has and that this database did not know: their runs are what the point says, whatever they were."""
    points = [call.given[0] for call in committed.named("add_point")]
    return [point.id for point in points if point.state is PointState.AVAILABLE]


def _taken_back(committed: Committed) -> list[str]:
    """Points that were given up before, and that the bucket has: their runs and attempts become good, and nothing else."""
    return [call.given[0] for call in committed.named("take_back")]


def _by_time(attempt: Attempt) -> bool:
    if attempt.state in (AttemptState.LOST, AttemptState.EXPIRED):
        return True
    return attempt.failure is not None and attempt.failure.reason in BY_TIME
