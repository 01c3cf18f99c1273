"""PostgreSQL under the controller: commits whose answer is lost, servers that are away, databases that cannot be used."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from seawall.controller.config import ControllerConfig
from seawall.controller.database.migrate import NEWEST
from seawall.controller.database.opening import check_new, open_database
from seawall.controller.database.postgresql import PostgresqlDatabase
from seawall.controller.database.postgresql_address import Address, parse_address
from seawall.controller.database.tables import metadata
from seawall.controller.errors import ControllerError, FailedPrecondition, Unavailable
from seawall.controller.initialise import initialise
from seawall.controller.store.transaction import Transaction
from seawall.repository.clock import SystemClock
from support.postgresql import PostgresServer, own_server
from support.postgresql_proxy import Break, BreakingLine, breaking_line


def reason(call: Callable[[], object], kind: type[ControllerError]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return caught.value.reason


def name_of(address: Address) -> str:
    return address.url.rpartition("/")[2]


@pytest.fixture
def line(postgres_server: PostgresServer) -> Iterator[BreakingLine]:
    with breaking_line(postgres_server.port) as made:
        yield made


@pytest.fixture
def over_line(postgres_address: Address, line: BreakingLine) -> Iterator[PostgresqlDatabase]:
    url = f"postgresql://postgres@127.0.0.1:{line.port}/{name_of(postgres_address)}?sslmode=disable&gssencmode=disable"
    with closing(PostgresqlDatabase(parse_address(url))) as database:
        yield database


@pytest.mark.parametrize("how", [Break.BEFORE, Break.AFTER])
def test_a_commit_whose_answer_is_lost_happens_once(
    over_line: PostgresqlDatabase, line: BreakingLine, how: Break
) -> None:
    """The counter would show a closure that ran again although its first run was committed."""
    for expected in (2, 3):
        line.break_next = how
        assert over_line.write_now(lambda transaction: transaction.leadership.raise_db_epoch()) == expected
    assert line.broken == 2
    assert over_line.read_now(lambda transaction: transaction.leadership.db_epoch()) == 3


def test_a_broken_line_under_many_writers_loses_and_doubles_nothing(
    over_line: PostgresqlDatabase, line: BreakingLine
) -> None:
    written, done = threading.Event(), threading.Semaphore(0)

    def write(_: int) -> int:
        raised = over_line.write_now(lambda transaction: transaction.leadership.raise_db_epoch())
        done.release()
        return raised

    def breaking() -> None:
        """As often as writes succeed: one that met every break would be told that the database is away."""
        for how in [Break.BEFORE, Break.AFTER] * 10:
            line.break_next = how
            while line.break_next is not Break.NEVER and not written.wait(0.001):
                pass
            while not done.acquire(timeout=0.01) and not written.is_set():
                pass

    with ThreadPoolExecutor(9) as pool:
        cutting = pool.submit(breaking)
        raised = list(pool.map(write, range(120)))
        written.set()
        cutting.result()
    assert line.broken >= 10
    assert sorted(raised) == list(range(2, 122))


@pytest.mark.slow
def test_writes_of_one_controller_never_make_each_other_run_again(postgres_address: Address) -> None:
    """What all of them read is what each of them writes: two at once would be a conflict every time."""
    ran: list[int] = []

    def closure(transaction: Transaction) -> int:
        ran.append(1)
        seen = transaction.leadership.db_epoch()
        transaction.fleet.generations()
        return transaction.leadership.raise_db_epoch() - seen

    with closing(PostgresqlDatabase(postgres_address)) as database, ThreadPoolExecutor(8) as pool:
        raised = list(pool.map(lambda _: database.write_now(closure), range(40)))
        assert database.read_now(lambda transaction: transaction.leadership.db_epoch()) == 41
    assert raised == [1] * 40 and len(ran) == 40


def test_a_server_that_is_away_is_waited_for_and_then_told(own_postgres: PostgresServer) -> None:
    with closing(PostgresqlDatabase(own_postgres.new_database())) as database:
        own_postgres.stop()
        assert reason(lambda: database.read_now(_epoch), Unavailable) == "DATABASE"
        assert reason(lambda: database.write_now(_raise), Unavailable) == "DATABASE"
        own_postgres.start()
        assert database.write_now(_raise) == 2
        assert database.read_now(_epoch) == 2


@pytest.mark.slow
def test_a_server_that_restarts_in_between_costs_no_error(own_postgres: PostgresServer) -> None:
    with closing(PostgresqlDatabase(own_postgres.new_database())) as database:
        assert database.write_now(_raise) == 2
        own_postgres.end(signal.SIGINT)
        own_postgres.start()
        assert database.write_now(_raise) == 3, "each pooled connection is dead; the closure ran again on a new one"


def test_a_read_only_server_is_away_for_writers(postgres_server: PostgresServer, postgres_address: Address) -> None:
    with closing(PostgresqlDatabase(postgres_address)) as database:
        postgres_server.sql(f"ALTER DATABASE {name_of(postgres_address)} SET default_transaction_read_only = on")
        postgres_server.sql(_end_all(postgres_address))
        assert reason(lambda: database.write_now(_raise), Unavailable) == "DATABASE"
        postgres_server.sql(f"ALTER DATABASE {name_of(postgres_address)} RESET default_transaction_read_only")
        postgres_server.sql(_end_all(postgres_address))
        assert database.write_now(_raise) == 2


@pytest.mark.slow
def test_a_writer_that_stands_still_does_not_hold_up_the_others(postgres_address: Address) -> None:
    """The server ends a transaction that idles; when its process wakes, the closure runs again."""
    with (
        closing(PostgresqlDatabase(postgres_address)) as first,
        closing(PostgresqlDatabase(postgres_address)) as second,
    ):
        asleep, awake, runs = threading.Event(), threading.Event(), []

        def slow(transaction: Transaction) -> int:
            epoch = transaction.leadership.raise_db_epoch()
            runs.append(epoch)
            if len(runs) == 1:
                asleep.set()
                assert awake.wait(60)
            return epoch

        with ThreadPoolExecutor(1) as pool:
            sleeping = pool.submit(first.write_now, slow)
            assert asleep.wait(10)
            assert second.write_now(_raise) == 2, "it waited until the server had ended the other transaction"
            awake.set()
            assert sleeping.result(30) == 3
        assert runs == [2, 3]


def test_wrong_addresses_say_what_is_wrong(postgres_server: PostgresServer, tmp_path: Path) -> None:
    port = postgres_server.port
    for url, words in (
        (f"postgresql://postgres@127.0.0.1:{port}/nowhere", 'database "nowhere" does not exist'),
        (f"postgresql://nobody@127.0.0.1:{port}/postgres", 'role "nobody" does not exist'),
        ("postgresql://postgres@127.0.0.1:1/postgres", "Connection refused"),
    ):
        with pytest.raises(Unavailable) as caught:
            PostgresqlDatabase(parse_address(url))
        assert caught.value.reason == "DATABASE_UNREACHABLE"
        assert words in str(caught.value)


@pytest.mark.slow
def test_a_password_comes_from_a_file_that_others_cannot_read(tmp_path: Path) -> None:
    """A server that asks for it."""
    file = tmp_path / "password"
    file.write_text("pa ss'word\\\n")
    file.chmod(0o644)
    with own_server("host all keeper 127.0.0.1/32 scram-sha-256") as server:
        server.sql("CREATE ROLE keeper LOGIN PASSWORD 'pa ss''word\\'")
        server.sql("CREATE DATABASE kept OWNER keeper")
        address = parse_address(server.url("kept", "keeper"), file)
        assert reason(lambda: PostgresqlDatabase(address), FailedPrecondition) == "DATABASE_PASSWORD_FILE"
        file.chmod(0o600)
        PostgresqlDatabase(address).close()
        file.write_text("wrong")
        with pytest.raises(Unavailable) as caught:
            PostgresqlDatabase(address)
    assert "password authentication failed" in str(caught.value)
    assert "pa ss" not in str(address) and "wrong" not in str(caught.value)


def test_a_user_without_rights_is_told_so(postgres_server: PostgresServer) -> None:
    address = postgres_server.new_database()
    postgres_server.sql("CREATE ROLE guest LOGIN")
    url = f"postgresql://guest@127.0.0.1:{postgres_server.port}/{name_of(address)}"
    assert reason(lambda: PostgresqlDatabase(parse_address(url)), FailedPrecondition) == "DATABASE_NO_RIGHTS"


def test_another_applications_database_is_left_alone(postgres_server: PostgresServer) -> None:
    address = postgres_server.new_database()
    postgres_server.sql("CREATE TABLE theirs (x int)", name_of(address))
    assert reason(lambda: PostgresqlDatabase(address), FailedPrecondition) == "DATABASE_FOREIGN"


def test_a_newer_schema_is_refused_unless_it_says_that_this_version_works_on_it(
    postgres_server: PostgresServer, postgres_address: Address
) -> None:
    database = name_of(postgres_address)
    postgres_server.sql("UPDATE alembic_version SET version_num = '0999'", database)
    assert reason(lambda: PostgresqlDatabase(postgres_address), FailedPrecondition) == "SCHEMA_TOO_NEW"
    postgres_server.sql("UPDATE meta SET works_since = '0999 0998'", database)
    assert reason(lambda: PostgresqlDatabase(postgres_address), FailedPrecondition) == "SCHEMA_TOO_NEW"
    postgres_server.sql(f"UPDATE meta SET works_since = '0999 {NEWEST}'", database)
    with closing(PostgresqlDatabase(postgres_address)) as opened:
        opened.write_now(_raise)
    assert postgres_server.sql("SELECT version_num FROM alembic_version", database) == [("0999",)]


def test_two_that_start_at_once_make_one_schema(postgres_server: PostgresServer) -> None:
    address = postgres_server.new_database()
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: PostgresqlDatabase(address), range(4)))
    for each in made:
        each.close()
    assert postgres_server.sql("SELECT count(*) FROM meta", name_of(address)) == [(1,)]


def test_migrations_make_exactly_these_tables_with_text_compared_by_bytes(
    postgres_server: PostgresServer, postgres_address: Address
) -> None:
    engine = sa.create_engine(postgres_address.url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()
    wrong = (
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' "
        "AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'"
    )
    assert postgres_server.sql(wrong, name_of(postgres_address)) == []


def test_old_marks_go(
    postgres_server: PostgresServer, postgres_address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seawall.controller.database.postgresql.SWEEP_EVERY", 2)
    with closing(PostgresqlDatabase(postgres_address)) as database:
        database.write_now(_raise)
        postgres_server.sql("UPDATE write_marks SET written_us = 0", name_of(postgres_address))
        database.write_now(_raise)
    assert postgres_server.sql("SELECT count(*) FROM write_marks", name_of(postgres_address)) == [(1,)]


def test_a_database_belongs_to_one_cluster(postgres_server: PostgresServer, tmp_path: Path) -> None:
    address = postgres_server.new_database()
    first, second = (
        ControllerConfig(state_dir=tmp_path / name, database=address.url, operator_file=tmp_path / f"{name}.toml")
        for name in ("one", "two")
    )
    check_new(first)
    initialise(first, SystemClock())
    open_database(first).close()
    assert reason(lambda: check_new(second), FailedPrecondition) == "DATABASE_OF_ANOTHER"
    initialise(second, SystemClock())
    assert reason(lambda: open_database(second), FailedPrecondition) == "DATABASE_OF_ANOTHER"
    told = ControllerConfig(state_dir=first.state_dir, database="postgresql://else@where/x")
    assert reason(lambda: open_database(told), FailedPrecondition) == "DATABASE_DIFFERS"
    with closing(open_database(ControllerConfig(state_dir=first.state_dir))):
        assert reason(lambda: open_database(first), FailedPrecondition) == "DATABASE_IN_USE"


def _raise(transaction: Transaction) -> int:
    return transaction.leadership.raise_db_epoch()


def _epoch(transaction: Transaction) -> int:
    return transaction.leadership.db_epoch()


def _end_all(address: Address) -> str:
    return f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name_of(address)}'"
