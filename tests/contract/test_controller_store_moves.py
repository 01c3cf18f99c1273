"""VMs that change their hosts, on every engine."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.controller.database.database import Database
from seawall.controller.database.moves import MOST_KEPT
from seawall.controller.records.moves import Claim, Move
from support.controller_databases import ENGINES, open_engine
from support.controller_records import NOW, a_vm
from support.enrolled_hosts import add_hosts

pytestmark = pytest.mark.timeout(120)

LEFT = Move("01", "vm-1", "alpha", left_us=NOW)


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """With hosts alpha and beta, and on alpha the VMs vm-1 and vm-2."""
    with open_engine(request.param, request, tmp_path) as made:
        add_hosts(made, "alpha", "beta")
        vms = [a_vm("vm-1"), a_vm("vm-2")]
        made.write_now(lambda transaction: transaction.fleet.replace_inventory("alpha", 1, vms))
        yield made


def test_a_move_is_kept_as_it_was_said_last(store: Database) -> None:
    store.write_now(lambda transaction: transaction.moves.save(LEFT))
    assert store.read_now(lambda transaction: transaction.moves.departures("alpha")) == [LEFT]
    arrived = replace(LEFT, to_host="beta", taken_us=NOW + 1, rival="gamma")
    store.write_now(lambda transaction: transaction.moves.save(arrived))
    said = Move("02", "vm-1", "", "beta", confirmed_us=NOW + 2)
    store.write_now(lambda transaction: transaction.moves.save(said))
    assert store.read_now(lambda transaction: transaction.moves.of_vm("vm-1")) == [arrived, said]
    assert store.read_now(lambda transaction: transaction.moves.departures("alpha")) == []
    assert store.read_now(lambda transaction: transaction.moves.of_vm("vm-2")) == []
    store.write_now(lambda transaction: transaction.moves.drop("01"))
    assert store.read_now(lambda transaction: transaction.moves.of_vm("vm-1")) == [said]


def test_hosts_that_take_a_vm_from_each_other_do_not_fill_the_database(store: Database) -> None:
    for number in range(MOST_KEPT + 3):
        move = replace(LEFT, id=f"{number:03d}", to_host="beta")
        store.write_now(lambda transaction, one=move: transaction.moves.save(one))  # type: ignore[misc]
    kept = store.read_now(lambda transaction: transaction.moves.of_vm("vm-1"))
    assert [move.id for move in kept] == [f"{number:03d}" for number in range(3, MOST_KEPT + 3)], "the newest"


def test_of_each_host_the_last_claim(store: Database) -> None:
    for claim in (Claim("vm-1", "beta", NOW), Claim("vm-1", "alpha", NOW), Claim("vm-1", "beta", NOW + 5)):
        store.write_now(lambda transaction, one=claim: transaction.moves.claim(one))  # type: ignore[misc]
    expected = [Claim("vm-1", "alpha", NOW), Claim("vm-1", "beta", NOW + 5)]
    assert store.read_now(lambda transaction: transaction.moves.claims("vm-1")) == expected
    store.write_now(lambda transaction: transaction.moves.drop_claim("vm-1", "beta"))
    assert store.read_now(lambda transaction: transaction.moves.claims("vm-1")) == expected[:1]


def test_whose_vms_they_are(store: Database) -> None:
    vm_ids = ["vm-2", "vm-1", "vm-9"]
    owners = store.read_now(lambda transaction: transaction.moves.owners_elsewhere("beta", vm_ids))
    assert owners == {"vm-1": "alpha", "vm-2": "alpha"}
    assert store.read_now(lambda transaction: transaction.moves.owners_elsewhere("alpha", vm_ids)) == {}
