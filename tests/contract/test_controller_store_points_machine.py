"""Points, holds and policies of the Store against a model, by random steps, on each engine (test_controller_store_machine.py: the rest)."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from seawall.controller.errors import Aborted, Unavailable
from seawall.controller.records.catalogue import Point, PointState
from seawall.controller.records.policies import DueFiring, Hold, Policy, PolicySpec
from seawall.controller.records.runs import AttemptState, RunState
from seawall.controller.store.points import Points
from seawall.controller.store.policies import Policies
from seawall.controller.store.transaction import Transaction
from support.controller_databases import ENGINES
from support.controller_records import NOW, a_point, a_repository, a_run, an_execution
from support.enrolled_hosts import add_hosts
from support.policies import a_policy
from support.store_machine import DatabaseMachine, run_machine

NUMBERS = st.integers(0, 5)
TIMES = st.integers(NOW, NOW + 2)
VMS = ("vm-0", "vm-1", "VM-2")
REPOSITORIES = ("repository", "another")
NAMES = ("nightly", "Nightly", "weekly", "_")
SPECS = (a_policy().spec, a_policy("retention: {last: 3}").spec)
LISTED = (PointState.PUBLISHING, PointState.AVAILABLE)
ROOTS = (*LISTED, PointState.DELETING)


@dataclass(frozen=True)
class Move:
    """How a point goes from one state to another. `told`: what its record says of it afterwards, by the time that it is given."""

    before: PointState
    after: PointState
    call: Callable[[Points, str, int], None]
    told: Callable[[int], dict[str, object]] = lambda now_us: {}


MOVES = {
    "make_available": Move(
        PointState.PUBLISHING,
        PointState.AVAILABLE,
        lambda points, point_id, now_us: points.make_available(point_id, now_us),
        lambda now_us: {"published_us": now_us, "intent": None},
    ),
    "give_up": Move(
        PointState.PUBLISHING,
        PointState.FAILED,
        lambda points, point_id, now_us: points.give_up(point_id),
        lambda now_us: {"published_us": 0, "intent": None},
    ),
    "take_back": Move(
        PointState.FAILED,
        PointState.AVAILABLE,
        lambda points, point_id, now_us: points.take_back(point_id, now_us),
        lambda now_us: {"published_us": now_us},
    ),
    "begin_delete": Move(
        PointState.AVAILABLE,
        PointState.DELETING,
        lambda points, point_id, now_us: points.begin_delete(point_id, b"tombstone", now_us),
        lambda now_us: {"tombstone": b"tombstone", "deleted_us": now_us},
    ),
    "end_delete": Move(
        PointState.DELETING,
        PointState.DELETED,
        lambda points, point_id, now_us: points.end_delete(point_id, now_us),
        lambda now_us: {"deleted_us": now_us},
    ),
}


@dataclass
class Model:
    """What the database should hold. `specs`: (policy, revision) -> what it said. `due`: (policy, VM) -> since when."""

    points: dict[str, Point] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    specs: dict[tuple[str, int], PolicySpec] = field(default_factory=dict)
    due: dict[tuple[str, str], int] = field(default_factory=dict)

    def ids(self, *states: PointState, **where: str) -> list[str]:
        """Of points in these states of which that is true, ascending."""
        found = [point for point in self.points.values() if point.state in states]
        return sorted(each.id for each in found if all(getattr(each, name) == is_ for name, is_ in where.items()))


class PointsMachine(DatabaseMachine):
    """Every step is one transaction, or one that fails and leaves nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        add_hosts(self.store, "alpha")
        for name in REPOSITORIES:
            record = a_repository(name, name)
            self.store.write_now(lambda transaction, record=record: transaction.repositories.add_repository(record))  # type: ignore[misc]

    @rule(
        number=NUMBERS,
        vm_id=st.sampled_from(VMS),
        repository_id=st.sampled_from(REPOSITORIES),
        instant_us=TIMES,
        data=st.data(),
    )
    def add_point(self, number: int, vm_id: str, repository_id: str, instant_us: int, data: st.DataObject) -> None:
        run = a_run(number, vm_id=vm_id, repository_id=repository_id, state=RunState.SUCCEEDED)
        if run.id in self.model.points:
            return
        policy_id = data.draw(st.sampled_from(["", *sorted(self.model.policies)]))
        attempt = replace(an_execution().attempt, id=f"attempt-{number}", run_id=run.id, state=AttemptState.SUCCEEDED)
        known = {"policy_id": policy_id, "instant_us": instant_us, "seq": len(self.model.points) + 1}
        point = a_point(run, attempt.id, **known)

        def closure(transaction: Transaction) -> None:
            transaction.runs.add_run(run)
            transaction.runs.add_attempt(attempt)
            transaction.points.add_point(point)

        self.store.write_now(closure)
        self.model.points[point.id] = point

    @precondition(lambda self: self.model.points)
    @rule(data=st.data(), name=st.sampled_from(sorted(MOVES)), now_us=TIMES, fails=st.booleans())
    def move_point(self, data: st.DataObject, name: str, now_us: int, fails: bool) -> None:
        point = self._any_point(data)
        move = MOVES[name]

        def closure(transaction: Transaction) -> None:
            move.call(transaction.points, point.id, now_us)
            if fails:
                raise Unavailable("STOP", "in the middle")

        if point.state is not move.before:
            with pytest.raises(Aborted):
                self.store.write_now(closure)
        elif fails:
            with pytest.raises(Unavailable):
                self.store.write_now(closure)
        else:
            self.store.write_now(closure)
            self.model.points[point.id] = replace(point, state=move.after, **move.told(now_us))  # type: ignore[arg-type]

    @precondition(lambda self: self.model.points)
    @rule(data=st.data(), until_us=st.one_of(st.just(0), TIMES))
    def hold(self, data: st.DataObject, until_us: int) -> None:
        hold = Hold(self._any_point(data).id, f"until {until_us}", NOW, until_us)
        self.store.write_now(lambda transaction: transaction.policies.hold(hold))
        self.model.holds[hold.point_id] = hold

    @precondition(lambda self: self.model.points)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        point_id = self._any_point(data).id
        released = self.store.write_now(lambda transaction: transaction.policies.release(point_id))
        assert released == (self.model.holds.pop(point_id, None) is not None)

    @rule(now_us=TIMES)
    def drop_holds(self, now_us: int) -> None:
        over = [each.point_id for each in self.model.holds.values() if 0 < each.until_us <= now_us]
        assert self.store.write_now(lambda transaction: transaction.policies.drop_holds(now_us)) == len(over)
        for point_id in over:
            del self.model.holds[point_id]

    @rule(name=st.sampled_from(NAMES), spec=st.sampled_from(SPECS))
    def add_policy(self, name: str, spec: PolicySpec) -> None:
        policy = replace(a_policy(policy_id=f"policy-{name}"), spec=replace(spec, name=name))
        if policy.id in self.model.policies:
            return
        self.store.write_now(lambda transaction: transaction.policies.add_policy(policy))
        self._saved(policy)

    @precondition(lambda self: self.model.policies)
    @rule(data=st.data(), spec=st.sampled_from(SPECS), deleted_us=st.sampled_from((0, NOW)), stale=st.booleans())
    def revise_policy(self, data: st.DataObject, spec: PolicySpec, deleted_us: int, stale: bool) -> None:
        before = self._any_policy(data)
        revised = replace(spec, name=before.name)
        after = replace(before, revision=before.revision + 1, spec=revised, changed_us=NOW + 1, deleted_us=deleted_us)
        if stale:
            wrong = replace(before, revision=before.revision - 1)
            with pytest.raises(Aborted):
                self.store.write_now(lambda transaction: transaction.policies.save_policy(wrong, after))
        else:
            self.store.write_now(lambda transaction: transaction.policies.save_policy(before, after))
            self._saved(after)

    @precondition(lambda self: self.model.policies)
    @rule(data=st.data(), fired_us=TIMES)
    def mark_fired(self, data: st.DataObject, fired_us: int) -> None:
        policy = self._any_policy(data)
        self.store.write_now(lambda transaction: transaction.policies.mark_fired(policy.id, fired_us))
        self.model.policies[policy.id] = replace(policy, fired_us=fired_us)

    @precondition(lambda self: self.model.policies)
    @rule(data=st.data(), vm_id=st.sampled_from(VMS), nominal_us=TIMES, put=st.booleans())
    def put_or_drop_due(self, data: st.DataObject, vm_id: str, nominal_us: int, put: bool) -> None:
        firing = DueFiring(self._any_policy(data).id, vm_id, nominal_us)
        if put:
            self.store.write_now(lambda transaction: transaction.policies.put_due(firing))
            self.model.due[firing.policy_id, vm_id] = nominal_us
        else:
            self.store.write_now(lambda transaction: transaction.policies.drop_due(firing.policy_id, vm_id))
            self.model.due.pop((firing.policy_id, vm_id), None)

    @invariant()
    def all_is_as_in_the_model(self) -> None:
        def look(transaction: Transaction) -> None:
            self._look_at_points(transaction.points)
            self._look_at_policies(transaction.policies)
            assert transaction.policies.holds_of(sorted(self.model.points)) == self.model.holds

        self.store.read_now(look)

    def _look_at_points(self, points: Points) -> None:
        model = self.model
        assert {point_id: points.point(point_id) for point_id in model.points} == model.points
        assert [each.id for each in points.points()] == model.ids(*LISTED)[::-1]
        assert list(points.unfinished()) == model.ids(PointState.PUBLISHING)
        assert list(points.deleting()) == model.ids(PointState.DELETING)
        for vm_id in VMS:
            assert [each.id for each in points.points(vm_id=vm_id)] == model.ids(*LISTED, vm_id=vm_id)[::-1]
            for name in REPOSITORIES:
                newest = points.newest(vm_id, name)
                mine = model.ids(PointState.AVAILABLE, vm_id=vm_id, repository_id=name)
                assert newest == max((model.points[each] for each in mine), key=lambda each: each.seq, default=None)
        for name in REPOSITORIES:
            assert [each.id for each in points.points(repository_id=name)] == model.ids(*LISTED, repository_id=name)[
                ::-1
            ]
            assert [each.id for each in points.roots(name)] == model.ids(*ROOTS, repository_id=name)
            assert [each.id for each in points.given_up(name)] == model.ids(PointState.FAILED, repository_id=name)
        for policy_id in model.policies:
            mine = model.ids(*LISTED, policy_id=policy_id)
            assert [each.id for each in points.points(policy_id=policy_id)] == mine[::-1]
            assert sorted(each.id for each in points.marks(policy_id)) == mine

    def _look_at_policies(self, policies: Policies) -> None:
        model = self.model
        everyone = sorted(model.policies.values(), key=lambda policy: policy.name.encode())
        assert policies.policies(deleted=True) == everyone, "by bytes, whatever the language"
        assert policies.policies() == [each for each in everyone if not each.deleted_us]
        assert {key: policies.revision(*key) for key in model.specs} == model.specs
        assert {(each.policy_id, each.vm_id): each.nominal_us for each in policies.due()} == model.due
        for policy in everyone:
            assert policies.policy_named(policy.name) == policy
            assert list(policies.point_ids(policy.id)) == model.ids(*LISTED, policy_id=policy.id)
            assert policies.count_points(policy.id) == len(model.ids(*LISTED, policy_id=policy.id))
            assert policies.newest_us(policy.id) == self._newest_us(policy.id)

    def _newest_us(self, policy_id: str) -> dict[str, int]:
        """VM -> the instant of its newest point; none is younger than its publication."""
        found: dict[str, int] = {}
        for point_id in self.model.ids(PointState.AVAILABLE, policy_id=policy_id):
            point = self.model.points[point_id]
            found[point.vm_id] = max(found.get(point.vm_id, 0), min(point.instant_us, point.published_us))
        return found

    def _saved(self, policy: Policy) -> None:
        self.model.policies[policy.id] = policy
        self.model.specs[policy.id, policy.revision] = policy.spec

    def _any_point(self, data: st.DataObject) -> Point:
        return self.model.points[data.draw(st.sampled_from(sorted(self.model.points)))]

    def _any_policy(self, data: st.DataObject) -> Policy:
        return self.model.policies[data.draw(st.sampled_from(sorted(self.model.policies)))]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("examples", "steps"), [(2, 20), pytest.param(100, 30, marks=pytest.mark.slow)])
def test_points_and_policies_are_what_their_model_says(
    engine: str, examples: int, steps: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run_machine(PointsMachine, engine, (examples, steps), request, tmp_path)
