"""Users, on every engine."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.controller.database.database import Database
from seawall.controller.records.users import Role, User
from support.controller_databases import ENGINES, open_engine
from support.controller_records import NOW

pytestmark = pytest.mark.timeout(120)

ANNA = User("anna", Role.VIEWER, "aa" * 32, NOW, NOW, NOW)
BERT = User("bert", Role.ADMIN, "bb" * 32, NOW, NOW, NOW)
GONE = User("cleo", Role.OPERATOR, "", NOW, NOW, NOW + 5, NOW + 5)


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """With two users, and one that was removed."""
    with open_engine(request.param, request, tmp_path) as made:
        for user in (GONE, BERT, ANNA):
            made.write_now(lambda transaction, user=user: transaction.users.add(user))  # type: ignore[misc]
        yield made


def test_users_are_found_by_name_and_by_token(store: Database) -> None:
    assert store.read_now(lambda transaction: transaction.users.user("anna")) == ANNA
    assert store.read_now(lambda transaction: transaction.users.user("cleo")) == GONE, "a removed one keeps its row"
    assert store.read_now(lambda transaction: transaction.users.user("dora")) is None
    assert store.read_now(lambda transaction: transaction.users.with_token("bb" * 32)) == BERT
    assert store.read_now(lambda transaction: transaction.users.with_token("")) is None, "the removed one's is nobody's"


def test_lists_go_by_name_and_leave_out_who_was_removed(store: Database) -> None:
    assert store.read_now(lambda transaction: list(transaction.users.users())) == [ANNA, BERT]
    assert store.read_now(lambda transaction: list(transaction.users.users(removed=True))) == [ANNA, BERT, GONE]
    assert store.read_now(lambda transaction: list(transaction.users.users(after="anna"))) == [BERT]
    assert store.read_now(lambda transaction: list(transaction.users.users(limit=1))) == [ANNA]


def test_a_change_is_made_to_the_row_that_was_read(store: Database) -> None:
    raised, removed = (
        replace(ANNA, role=Role.OPERATOR, changed_us=NOW + 1),
        replace(ANNA, token_sha256="", removed_us=NOW + 2, changed_us=NOW + 2),
    )
    assert store.write_now(lambda transaction: transaction.users.save(ANNA, raised))
    assert not store.write_now(lambda transaction: transaction.users.save(ANNA, removed)), "somebody was faster"
    assert store.read_now(lambda transaction: transaction.users.user("anna")) == raised
    assert store.write_now(lambda transaction: transaction.users.save(raised, removed))
    assert store.read_now(lambda transaction: transaction.users.with_token("aa" * 32)) is None
