"""How PostgreSQL looks for what the scheduler asks at each tick, with statistics that are some hours old."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

import pytest
import sqlalchemy as sa

from seawall.controller.database.postgresql import PostgresqlDatabase
from seawall.controller.database.postgresql_address import Address
from seawall.controller.records.runs import RunState
from seawall.controller.store.transaction import Transaction
from support.asked_queries import asked_queries
from support.controller_records import NOW, a_repository, a_run

OVER, WAITING = 2000, 300


@pytest.fixture
def database(postgres_address: Address) -> Iterator[PostgresqlDatabase]:
    """Autovacuum came by while nothing waited; then the policies fired."""
    with closing(PostgresqlDatabase(postgres_address)) as made:
        made.write_now(lambda transaction: transaction.repositories.add_repository(a_repository()))
        made.write_now(lambda transaction: _runs(transaction, range(OVER), RunState.SUCCEEDED))
        made.write_sql(lambda connection: connection.exec_driver_sql("ANALYZE"))
        made.write_now(lambda transaction: _runs(transaction, range(OVER, OVER + WAITING), RunState.READY))
        yield made


@pytest.mark.parametrize(
    "ask",
    [
        lambda t: t.runs.ready_mark(NOW),
        lambda t: t.runs.ready_versions(NOW),
        lambda t: t.runs.next_due_us(NOW - 1),
    ],
)
def test_what_waits_is_counted_by_an_index_of_what_waits(
    database: PostgresqlDatabase, ask: Callable[[Transaction], object]
) -> None:
    ((statement, parameters),) = asked_queries(database, ask)

    numbered, values = _numbered(statement, parameters)

    def explained(connection: sa.Connection) -> str:
        # As it is after a few ticks: planned once, for any values.
        connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
        connection.exec_driver_sql(f"PREPARE asked AS {numbered}")
        steps = "\n".join(str(row[0]) for row in connection.exec_driver_sql(f"EXPLAIN EXECUTE asked({values})"))
        connection.exec_driver_sql("DEALLOCATE asked")
        return steps

    steps = database.read_sql(explained)
    assert "Index Only Scan using ix_runs_ready" in steps, steps


def _numbered(statement: str, parameters: Mapping[str, object]) -> tuple[str, str]:
    """The query with $1, $2, ..., and their values as SQL writes them."""
    names = list(parameters)
    for number, name in enumerate(names, 1):
        statement = statement.replace(f"%({name})s", f"${number}")
    return statement, ", ".join(repr(parameters[name]) for name in names)


def _runs(transaction: Transaction, numbers: range, state: RunState) -> None:
    for number in numbers:
        transaction.runs.add_run(a_run(number, vm_id=f"vm-{number}", state=state, ended_us=NOW))
