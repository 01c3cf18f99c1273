"""The contract of the Store's role Limits, and of what the scheduler's mirror asks for."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.controller.admission.mirror import FleetMirror
from seawall.controller.records.limits import Apart, Breaker, Limit, Measure, Scope, ScopeKey, Service
from seawall.controller.store import Store
from support.controller_databases import SCHEMAS, open_engine
from support.controller_records import NOW, SECOND, a_repository, a_run, a_vm
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
        return max(change for _, change in store.read_now(lambda transaction: transaction.fleet.vms_since(0)))

    first = report(a_vm())
    assert report(replace(a_vm(), last_seen_us=NOW + SECOND)) == first
    started = report(replace(a_vm(), state="shut off"))
    assert started > first
    gone = report()
    assert gone > started
    (found,) = store.read_now(lambda transaction: transaction.fleet.vms_since(gone))
    assert (found[0].present, found[1]) == (False, gone)
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
