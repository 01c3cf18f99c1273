"""The contract of the Store's role Limits, and of what the scheduler's mirror asks for."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.controller.admission.mirror import FleetMirror
from seawall.controller.records.fleet import News, Vm
from seawall.controller.records.limits import Apart, Breaker, Limit, Measure, Scope, ScopeKey, Service
from seawall.controller.records.runs import AttemptState, Progress
from seawall.controller.store.transaction import Store, Transaction
from support.controller_databases import SCHEMAS, open_engine
from support.controller_records import NOW, SECOND, a_repository, a_run, a_session, a_vm, an_execution
from support.enrolled_hosts import add_hosts


@pytest.fixture(params=SCHEMAS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """With hosts alpha and beta, and a repository."""
    with open_engine(request.param, request, tmp_path) as database:
        add_hosts(database, "alpha", "beta")
        database.write_now(lambda transaction: transaction.repositories.add_repository(a_repository()))
        yield database


def test_a_limit_replaces_the_one_before_and_goes(store: Store) -> None:
    host = Limit(Scope.HOST, "alpha", Measure.TRANSFERRING, 2)
    store.write_now(lambda transaction: transaction.limits.set_limit(host))
    store.write_now(lambda transaction: transaction.limits.set_limit(host._replace(value=5)))
    assert store.read_now(lambda transaction: transaction.limits.limits()) == [host._replace(value=5)]
    gone = [
        store.write_now(lambda transaction: transaction.limits.unset_limit(Scope.HOST, "alpha", Measure.TRANSFERRING))
        for _ in range(2)
    ]
    assert (gone, store.read_now(lambda transaction: transaction.limits.limits())) == ([True, False], [])


def test_a_breaker_without_failures_is_no_row(store: Store) -> None:
    breaker = Breaker(Scope.HOST, "alpha", 4, NOW, "WORKER_EXITED", "killed")
    store.write_now(lambda transaction: transaction.limits.save_breaker(breaker))
    assert store.read_now(lambda transaction: transaction.limits.breaker(ScopeKey(Scope.HOST, "alpha"))) == breaker
    store.write_now(lambda transaction: transaction.limits.save_breaker(replace(breaker, failures=0)))
    assert store.read_now(lambda transaction: transaction.limits.breakers()) == []


def test_groups_take_vms_in_once_and_out_again(store: Store) -> None:
    store.write_now(lambda transaction: transaction.fleet.replace_inventory("alpha", 1, [a_vm()]))
    for _ in range(2):
        store.write_now(lambda transaction: transaction.limits.keep_apart("galera", ["vm-1", "vm-1"]))
    assert store.read_now(lambda transaction: transaction.limits.apart()) == [Apart("galera", "vm-1")]
    store.write_now(lambda transaction: transaction.limits.keep_together("galera", ["vm-1"]))
    assert store.read_now(lambda transaction: transaction.limits.apart()) == []


def test_reports_of_traffic_leave_the_share_alone(store: Store) -> None:
    store.write_now(lambda transaction: transaction.limits.report_traffic("alpha", 10, 5, NOW))
    store.write_now(lambda transaction: transaction.limits.save_shares({"alpha": 7, "beta": 9}, NOW + 1))
    store.write_now(lambda transaction: transaction.limits.report_traffic("alpha", 20, 6, NOW + 2))
    found = store.read_now(lambda transaction: transaction.limits.traffic_of("alpha"))
    assert found is not None
    assert (found.demand_bytes_per_second, found.share_bytes_per_second, found.share_us) == (20, 7, NOW + 1)
    assert len(store.read_now(lambda transaction: transaction.limits.traffic())) == 1


def test_a_host_keeps_service_and_site(store: Store) -> None:
    store.write_now(lambda transaction: transaction.fleet.set_service("alpha", Service.DRAINING))
    store.write_now(lambda transaction: transaction.fleet.set_site("alpha", "north"))
    host = store.read_now(lambda transaction: transaction.fleet.host("alpha"))
    assert host is not None
    assert (host.service, host.site) == (Service.DRAINING, "north")


def test_a_vms_number_grows_with_what_the_scheduler_sees_and_with_nothing_else(store: Store) -> None:
    def report(*vms: object, host: str = "alpha") -> int:
        store.write_now(lambda transaction: transaction.fleet.replace_inventory(host, 1, vms))  # type: ignore[arg-type]
        return max(store.read_now(lambda transaction: transaction.fleet.vm_changes(0)).values())

    first = report(a_vm())
    assert report(replace(a_vm(), last_seen_us=NOW + SECOND)) == first
    started = report(replace(a_vm(), state="shut off"))
    assert started > first
    gone = report()
    assert gone > started
    assert store.read_now(lambda transaction: transaction.fleet.vm_changes(gone)) == {"vm-1": gone}
    (found,) = store.read_now(lambda transaction: transaction.fleet.vms_of(["vm-1", "vm-2"]))
    assert not found.present
    assert report(a_vm(host_id="beta"), host="beta") > gone


def test_the_mirror_sees_what_changed_since_its_last_look(store: Store) -> None:
    mirror = FleetMirror()

    def look(at_us: int = NOW):  # type: ignore[no-untyped-def]
        return store.read_now(lambda transaction: mirror.look(transaction, at_us))

    store.write_now(lambda transaction: transaction.fleet.replace_inventory("alpha", 1, [a_vm()]))
    assert look().facts.vms["vm-1"].storages == ("alpha:/",)
    store.write_now(lambda transaction: transaction.runs.add_run(a_run()))
    store.write_now(lambda transaction: transaction.fleet.replace_inventory("alpha", 2, []))
    sight = look(NOW + SECOND)
    assert ([run.id for run in sight.ready], sight.facts.vms["vm-1"].present) == ([a_run().id], False)
    store.write_now(
        lambda transaction: transaction.runs.save_run(a_run(), replace(a_run(), blocked_on="something else"))
    )
    store.write_now(lambda transaction: transaction.limits.keep_apart("galera", ["vm-1"]))
    sight = look(NOW + 2 * SECOND)
    assert (sight.ready[0].blocked_on, sight.facts.vms["vm-1"].labels) == ("something else", ("galera",))


def test_what_the_gathered_calls_ask_is_of_those_named_alone(store: Store) -> None:
    def closure(transaction: Transaction) -> None:
        for host_id in ("alpha", "beta"):
            transaction.fleet.open_session(a_session(host_id, session_id=f"of {host_id}"))
        transaction.fleet.bump_generation("beta")
        for number, host_id in enumerate(("alpha", "beta"), 1):
            run = a_run(number, vm_id=f"vm-{number}")
            transaction.runs.add_runs([run])
            attempt = replace(an_execution().attempt, id=f"attempt-{number}", run_id=run.id, host_id=host_id)
            transaction.runs.add_attempt(attempt)

    store.write_now(closure)
    with_beta = store.read_now(
        lambda transaction: (
            [session.session_id for session in transaction.fleet.sessions_of(["beta", "gone"])],
            transaction.fleet.generations_of(["beta", "gone"]),
            [attempt.id for attempt in transaction.runs.live_of_hosts(["beta", "gone"])],
            [attempt.id for attempt in transaction.runs.attempts_by_id(["attempt-2", "gone"])],
        )
    )
    assert with_beta == (["of beta"], {"beta": 2}, ["attempt-2"], ["attempt-2"])
    assert store.read_now(lambda transaction: transaction.runs.live_versions()) == {"attempt-1": 1, "attempt-2": 1}
    everybody = store.read_now(lambda transaction: (transaction.fleet.enrolled(), transaction.fleet.host_names()))
    assert everybody == (frozenset({"alpha", "beta"}), {"alpha": "alpha", "beta": "beta"})


def test_progress_of_many_is_stored_as_that_of_one(store: Store) -> None:
    def reported(seq: int) -> Progress:
        return Progress(seq, AttemptState.TRANSFERRING, "reading", (), "", "", 0, 0)

    def closure(transaction: Transaction) -> dict[str, Progress]:
        for number in (1, 2):
            transaction.runs.add_run(a_run(number, vm_id=f"vm-{number}"))
            attempt = replace(an_execution().attempt, id=f"attempt-{number}", run_id=a_run(number).id)
            transaction.runs.add_attempt(attempt)
        transaction.runs.save_progress_of({}, NOW)
        transaction.runs.save_progress("attempt-1", reported(5), NOW)
        transaction.runs.save_progress_of({"attempt-1": reported(4), "attempt-2": reported(0)}, NOW)
        transaction.runs.save_progress_of({"attempt-1": reported(6), "attempt-2": reported(1)}, NOW)
        return transaction.runs.progress_of(["attempt-1", "attempt-2"])

    stored = store.write_now(closure)
    assert {attempt_id: progress.seq for attempt_id, progress in stored.items()} == {"attempt-1": 6, "attempt-2": 1}


def test_the_next_due_run_is_the_first_that_is_not_due_yet(store: Store) -> None:
    assert store.read_now(lambda transaction: transaction.runs.next_due_us(NOW)) == 0
    for number, seconds in enumerate((0, 9, 5), 1):
        run = a_run(number, vm_id=f"vm-{number}", not_before_us=NOW + seconds * SECOND)
        store.write_now(lambda transaction, run=run: transaction.runs.add_run(run))  # type: ignore[misc]
    assert store.read_now(lambda transaction: transaction.runs.next_due_us(NOW)) == NOW + 5 * SECOND
    assert store.read_now(lambda transaction: transaction.runs.next_due_us(NOW + 5 * SECOND)) == NOW + 9 * SECOND


def test_an_inventory_that_says_what_is_known_changes_only_when_it_was_seen(store: Store) -> None:
    def report(*vms: Vm) -> News:
        return store.write_now(lambda transaction: transaction.fleet.replace_inventory("alpha", 1, vms))

    both = (a_vm("vm-1"), a_vm("vm-2"))
    assert report(*both) == News((), True)
    assert report(*(replace(vm, last_seen_us=NOW + SECOND) for vm in both)) == News((), False)
    seen = store.read_now(lambda transaction: [vm.last_seen_us for vm in transaction.fleet.vms()])
    assert seen == [NOW + SECOND] * 2
    assert report(a_vm("vm-1"), a_vm("vm-2", tags=("gold",))).changed
    assert report(a_vm("vm-1")).changed
    present = store.read_now(lambda transaction: [vm.present for vm in transaction.fleet.vms()])
    assert present == [True, False]
