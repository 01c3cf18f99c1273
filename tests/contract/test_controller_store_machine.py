"""The Store against a model of it, by random steps, on each engine: what was written is read, whatever was closed and opened in between.

Runs, repositories, the lead. Points and policies: test_controller_store_points_machine.py.
"""

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from seawall.controller.errors import Aborted, AlreadyExists, ControllerError, Unavailable
from seawall.controller.records.leadership import Leader, Replica
from seawall.controller.records.runs import Run, RunState
from seawall.controller.store.transaction import Transaction
from support.controller_databases import ENGINES
from support.controller_records import NOW, a_repository, a_run
from support.store_machine import DatabaseMachine, run_machine

OPEN = (RunState.READY, RunState.ACTIVE)
HOLDERS = ("one", "two", "three")
LEASE_US = 10
numbers = st.integers(0, 5)


@dataclass
class Model:
    """What the database should hold."""

    runs: dict[str, Run] = field(default_factory=dict)
    secrets: dict[str, bytes] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    db_epoch: int = 1
    publications: int = 0
    holder: str = ""
    epoch: int = 0
    expires_us: int = 0
    leaders: list[Leader] = field(default_factory=list)


class StoreMachine(DatabaseMachine):
    """Every step is one transaction, or one that fails and leaves nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(names={"main"})
        self.now_us = NOW
        self.store.write_now(lambda transaction: transaction.repositories.add_repository(a_repository()))

    @rule(number=numbers, vm=numbers)
    def add_run(self, number: int, vm: int) -> None:
        run = a_run(number, vm_id=f"vm-{vm}")
        known = run.id in self.model.runs
        taken = any(each.vm_id == run.vm_id and each.state in OPEN for each in self.model.runs.values())

        def closure(transaction: Transaction) -> bool:
            if transaction.runs.run(run.id) or transaction.runs.open_backup(run.vm_id, run.repository_id):
                return False
            transaction.runs.add_run(run)
            return True

        added = self.store.write_now(closure)
        assert added is not (known or taken)
        if added:
            self.model.runs[run.id] = run

    @precondition(lambda self: self.model.runs)
    @rule(data=st.data(), state=st.sampled_from(RunState), stale=st.booleans())
    def save_run(self, data: st.DataObject, state: RunState, stale: bool) -> None:
        before = self.model.runs[data.draw(st.sampled_from(sorted(self.model.runs)))]
        others = [each for each in self.model.runs.values() if each.id != before.id and each.state in OPEN]
        if state in OPEN and any(each.vm_id == before.vm_id for each in others):
            return
        after = replace(before, state=state, blocked_on=f"{self.now_us}")
        if stale:
            wrong = replace(before, version=before.version + 7)
            with pytest.raises(Aborted):
                self.store.write_now(lambda transaction: transaction.runs.save_run(wrong, after))
        else:
            saved = self.store.write_now(lambda transaction: transaction.runs.save_run(before, after))
            # What changes nothing is no new version.
            self.model.runs[before.id] = replace(after, version=before.version + (after != before))
            assert saved == self.model.runs[before.id]

    @rule(name=st.sampled_from(("main", "b", "B", "_")), fails=st.booleans())
    def add_repository(self, name: str, fails: bool) -> None:
        record = a_repository(name, f"r-{name}")

        def closure(transaction: Transaction) -> None:
            transaction.repositories.add_repository(record)
            if fails:
                raise Unavailable("STOP", "in the middle")

        try:
            self.store.write_now(closure)
            assert name not in self.model.names
            self.model.names.add(name)
        except AlreadyExists:
            assert name in self.model.names
        except Unavailable:
            assert fails

    @rule(name=st.text("ab", min_size=1, max_size=2), body=st.binary(max_size=4))
    def begin_creation(self, name: str, body: bytes) -> None:
        kept = self.store.write_now(lambda transaction: transaction.repositories.begin_creation(name, body))
        assert kept == self.model.secrets.setdefault(name, body)

    @rule(name=st.text("ab", min_size=1, max_size=2))
    def end_creation(self, name: str) -> None:
        self.store.write_now(lambda transaction: transaction.repositories.end_creation(name))
        self.model.secrets.pop(name, None)

    @rule(holder=st.sampled_from(HOLDERS), later=st.integers(0, 2 * LEASE_US))
    def acquire(self, holder: str, later: int) -> None:
        self.now_us += later
        leader = self.store.write_now(lambda transaction: transaction.leadership.acquire(holder, self.now_us, LEASE_US))
        free = self.model.holder in ("", holder) or self.model.expires_us <= self.now_us
        assert (leader is not None) == free
        if leader is not None:
            self._led_by(leader)

    @rule(holder=st.sampled_from(HOLDERS), seen_at_once=st.booleans())
    def take(self, holder: str, seen_at_once: bool) -> None:
        row = self.store.read_now(lambda transaction: transaction.leadership.lease())
        assert (row.holder, row.epoch, row.expires_us) == (self.model.holder, self.model.epoch, self.model.expires_us)
        if not seen_at_once:
            row = replace(row, expires_us=row.expires_us + 1)
        replica = Replica(holder, "1", "a:1", "b:1")
        leader = self.store.write_now(
            lambda transaction: transaction.leadership.take(row, replica, self.now_us, LEASE_US)
        )
        assert (leader is not None) == seen_at_once
        if leader is not None:
            self._led_by(leader)

    @precondition(lambda self: self.model.leaders)
    @rule(data=st.data(), what=st.sampled_from(("renew", "order", "release", "raise")))
    def act_as_leader(self, data: st.DataObject, what: str) -> None:
        leader = data.draw(st.sampled_from(self.model.leaders))
        holds = (leader.holder, leader.epoch) == (self.model.holder, self.model.epoch)
        acts: dict[str, Callable[[Transaction], object]] = {
            "renew": lambda transaction: transaction.leadership.renew(leader, self.now_us, LEASE_US),
            "order": lambda transaction: transaction.leadership.order_publication(leader, "repository"),
            "release": lambda transaction: transaction.leadership.release(leader),
            "raise": lambda transaction: transaction.leadership.raise_epoch(leader, leader.epoch + 3),
        }
        if not holds:
            with suppress(ControllerError) if what == "release" else pytest.raises(Unavailable):
                self.store.write_now(acts[what])
            return
        found = self.store.write_now(acts[what])
        if what == "renew":
            self.model.expires_us = self.now_us + LEASE_US
        elif what == "order":
            self.model.publications += 1
            assert found == self.model.publications
        elif what == "release":
            self.model.holder, self.model.expires_us = "", 0
        else:
            assert isinstance(found, Leader)
            self.model.epoch = found.epoch
            self.model.leaders.append(found)

    @rule(fails=st.booleans())
    def raise_db_epoch(self, fails: bool) -> None:
        def closure(transaction: Transaction) -> int:
            raised = transaction.leadership.raise_db_epoch()
            if fails:
                raise Unavailable("STOP", "in the middle")
            return raised

        if fails:
            with pytest.raises(Unavailable):
                self.store.write_now(closure)
        else:
            self.model.db_epoch += 1
            assert self.store.write_now(closure) == self.model.db_epoch

    @invariant()
    def all_is_as_in_the_model(self) -> None:
        def closure(transaction: Transaction) -> tuple[object, ...]:
            names = [each.name for each in transaction.repositories.repositories()]
            creations = {name: transaction.repositories.creation(name) for name in _NAMES}
            return list(transaction.runs.runs()), names, creations, transaction.leadership.db_epoch()

        runs, names, creations, epoch = self.store.read_now(closure)
        assert runs == sorted(self.model.runs.values(), key=lambda run: run.id, reverse=True)
        assert names == sorted(self.model.names), "by bytes, whatever the language"
        assert creations == {name: self.model.secrets.get(name) for name in _NAMES}
        assert epoch == self.model.db_epoch

    def _led_by(self, leader: Leader) -> None:
        self.model.epoch += 1
        self.model.holder, self.model.expires_us = leader.holder, self.now_us + LEASE_US
        assert (leader.holder, leader.epoch) == (self.model.holder, self.model.epoch)
        self.model.leaders.append(leader)


_NAMES = ["".join(each) for length in (1, 2) for each in itertools.product("ab", repeat=length)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("examples", "steps"), [(2, 20), pytest.param(100, 30, marks=pytest.mark.slow)])
def test_the_store_does_what_its_model_does(
    engine: str, examples: int, steps: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run_machine(StoreMachine, engine, (examples, steps), request, tmp_path)
