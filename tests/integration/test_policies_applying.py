"""Applying a file: planned on a read, carried out in a transaction that finds what was planned, or planned again."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from seawall.api.v1 import policy_pb2
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.errors import Aborted
from seawall.controller.hooks.calling import Caller
from seawall.controller.hooks.directory import HookDirectory
from seawall.controller.policies.applying import ChangeKind, carry_out, plan_changes
from seawall.controller.records.policies import Policy
from seawall.controller.scheduler.executions import Executions
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.services.blocking import Blocking
from seawall.controller.services.once import Once
from seawall.controller.services.policy_service import MOST_TRIES, PolicyServicer
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings
from support.controller_clock import ManualClock
from support.controller_records import NOW, SECOND
from support.policies import NIGHTLY, a_policy, add_policy, fleet_store

T = TypeVar("T")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteDatabase]:
    with fleet_store(tmp_path) as opened:
        yield opened


class MeddledStore:
    """Calls `meddle` after each read: what somebody else does between a plan and its transaction."""

    def __init__(self, store: SqliteDatabase, meddle: Callable[[], None]) -> None:
        self._store = store
        self._meddle = meddle

    async def read(self, closure: Callable[[Transaction], T]) -> T:
        found = await self._store.read(closure)
        self._meddle()
        return found

    async def write(self, closure: Callable[[Transaction], T]) -> T:
        return await self._store.write(closure)


@contextmanager
def servicer(store: object) -> Iterator[PolicyServicer]:
    known = cast(Store, store)
    clock = ManualClock(NOW)
    hooks = Caller(HookDirectory(Path("/nonexistent")), clock)
    with closing(Blocking(1)) as blocking:
        yield PolicyServicer(Executions(known, Wakes()), Once(known, clock, Timings()), blocking, hooks, clock)


def changed(policy: Policy) -> Policy:
    return replace(policy, revision=policy.revision + 1, spec=replace(policy.spec, paused=not policy.spec.paused))


def policy(store: SqliteDatabase, name: str = "nightly") -> Policy:
    found = store.read_now(lambda transaction: transaction.policies.policy_named(name))
    assert found is not None
    return found


def request(*names: str, request_id: str = "") -> policy_pb2.ApplyPoliciesRequest:
    document = "---".join(NIGHTLY.format(name=name) + "rpo: 26h\n" for name in names)
    known = request_id or str(uuid.uuid4())
    return policy_pb2.ApplyPoliciesRequest(request_id=known, document=document, source="test.yaml")


def test_what_was_fired_since_the_plan_stays_fired(store: SqliteDatabase) -> None:
    before, clock = add_policy(store, a_policy()), ManualClock(NOW + SECOND)
    specs = [replace(before.spec, rpo_seconds=3600)]
    planned = store.read_now(lambda transaction: plan_changes(transaction, specs, clock))
    store.write_now(lambda transaction: transaction.policies.mark_fired(before.id, NOW + 9))
    (done,) = store.write_now(lambda transaction: carry_out(transaction, planned, clock))
    assert (done.kind, policy(store).fired_us, policy(store).spec.rpo_seconds) == (ChangeKind.CHANGED, NOW + 9, 3600)


def test_a_policy_that_changed_since_the_plan_leaves_the_whole_file_undone(store: SqliteDatabase) -> None:
    clock = ManualClock(NOW)
    first, second = add_policy(store, a_policy()), add_policy(store, a_policy(policy_id="policy-2", name="weekly"))
    specs = [replace(each.spec, rpo_seconds=3600) for each in (first, second)]
    planned = store.read_now(lambda transaction: plan_changes(transaction, specs, clock))
    store.write_now(lambda transaction: transaction.policies.save_policy(second, changed(second)))
    with pytest.raises(Aborted):
        store.write_now(lambda transaction: carry_out(transaction, planned, clock))
    assert policy(store) == first


async def test_it_is_planned_again_when_somebody_came_in_between(store: SqliteDatabase) -> None:
    add_policy(store, a_policy())
    meddled: list[Policy] = []

    def meddle() -> None:
        if not meddled:
            meddled.append(policy(store))
            store.write_now(lambda transaction: transaction.policies.save_policy(policy(store), changed(policy(store))))

    with servicer(MeddledStore(store, meddle)) as services:
        answer = await services.ApplyPolicies(request("nightly", "weekly"), cast(Any, None))
    assert [(each.policy, each.revision) for each in answer.changes] == [("nightly", 3), ("weekly", 1)]
    assert (policy(store).revision, policy(store).spec.paused) == (3, False)


async def test_whoever_is_always_overtaken_is_told(store: SqliteDatabase) -> None:
    add_policy(store, a_policy())
    meddled: list[int] = []

    def meddle() -> None:
        meddled.append(1)
        store.write_now(lambda transaction: transaction.policies.save_policy(policy(store), changed(policy(store))))

    with servicer(MeddledStore(store, meddle)) as services, pytest.raises(Aborted):
        await services.ApplyPolicies(request("nightly"), cast(Any, None))
    assert len(meddled) == MOST_TRIES


async def test_a_repeated_request_gets_its_answer_whatever_became_of_the_policy(store: SqliteDatabase) -> None:
    once = request("nightly", request_id=str(uuid.uuid4()))
    with servicer(store) as services:
        first = await services.ApplyPolicies(once, cast(Any, None))
        store.write_now(lambda transaction: transaction.policies.save_policy(policy(store), changed(policy(store))))
        assert await services.ApplyPolicies(once, cast(Any, None)) == first
    assert policy(store).revision == 2
