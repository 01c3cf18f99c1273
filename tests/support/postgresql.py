"""A real PostgreSQL 15 for the tests: one server per session, started by the first test that asks, and a database of its own per test."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from deploy.free_ports import free_ports

from seawall.controller.database.postgresql import PostgresqlDatabase
from seawall.controller.database.postgresql_address import Address, parse_address
from support.parent_death import dying_with_parent

BINARIES = Path("/usr/lib/postgresql/15/bin")
SUPERUSER = "postgres"
START_SECONDS = 60.0
TEMPLATE = "seawall_template"

# Nothing of this machine is proven by a session's server but SQL: no test cuts its power.
QUICK = {"fsync": "off", "full_page_writes": "off"}
DURABLE = {"wal_level": "replica", "max_wal_senders": "4", "hot_standby": "on"}
COMMON = {
    "max_connections": "60",
    "shared_buffers": "32MB",
    "log_min_messages": "warning",
    "max_prepared_transactions": "0",
}


class PostgresServer:
    """`start`, `stop`, and what a test does to it in between. Its processes end with the tests' process, whatever ends that."""

    def __init__(self, directory: Path, settings: dict[str, str] | None = None) -> None:
        """`directory`: not there yet, or one that `initialise` or a base backup filled."""
        self.directory = directory
        self.port = free_ports(1)
        self.settings = COMMON | (settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def url(self, database: str = "postgres", user: str = SUPERUSER) -> str:
        """By loopback, without a password."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def initialise(self) -> None:
        """Its text sorts as people in the United States sort, which is not how SQLite does: what depends on it shows."""
        _own(self.directory)
        arguments = ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US", "--encoding=UTF8"]
        run_tool("initdb", "-D", str(self.data), "-U", SUPERUSER, "--auth=trust", "--no-sync", *arguments)

    def copy_of(self, primary: "PostgresServer") -> None:
        """A base backup of it, which follows it once it is started: a standby."""
        _own(self.directory)
        run_tool("pg_basebackup", "-D", str(self.data), "-d", primary.url(), "-R", "-X", "stream", "-c", "fast")

    def caught_up(self, primary: "PostgresServer") -> bool:
        """Whether this standby has applied all that the primary has written until now."""
        ((written,),) = primary.sql("SELECT pg_current_wal_lsn()")
        ((applied,),) = self.sql(f"SELECT coalesce(pg_last_wal_replay_lsn() >= '{written}', false)")
        return bool(applied)

    def stop_following(self) -> None:
        """What the primary commits from now on is not here."""
        self.sql("ALTER SYSTEM SET primary_conninfo = ''")
        self.sql("SELECT pg_reload_conf()")
        while self.sql("SELECT 1 FROM pg_stat_wal_receiver"):
            time.sleep(0.02)

    def promote(self) -> None:
        """Returns once it takes writes."""
        self.sql("SELECT pg_promote()")

    def start(self) -> None:
        """Returns once it answers."""
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
        }
        given = [f"--{key}={value}" for key, value in (options | self.settings).items()]
        with (self.directory / "log").open("ab") as log:
            words = [str(BINARIES / "postgres"), "-D", str(self.data), *given]
            line = dying_with_parent(words, signal.SIGQUIT, _user())
            self._process = subprocess.Popen(line, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/")
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"postgres did not start: {(self.directory / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """At once: every connection is cut off, nothing committed is lost."""
        self.end(signal.SIGQUIT)

    def end(self, how: signal.Signals) -> None:
        """By this signal; its children end too."""
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.wait(60)
        self._process = None

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """One statement by the superuser, committed at once; its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            found = connection.execute(statement.encode())
            return list(found.fetchall()) if found.description else []

    def new_database(self, template: str = "template0") -> Address:
        """An empty database, or a copy of another one."""
        name = f"t{secrets.token_hex(6)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return parse_address(self.url(name))

    @contextmanager
    def database(self, template: str) -> Iterator[Address]:
        """A copy of that database, dropped at the end."""
        address = self.new_database(template)
        try:
            yield address
        finally:
            self.sql(f"DROP DATABASE {address.url.rpartition('/')[2]} WITH (FORCE)")

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


def run_tool(tool: str, *arguments: str) -> None:
    """One of PostgreSQL's tools, as the user who owns the servers."""
    line = dying_with_parent([str(BINARIES / tool), *arguments], user=_user())
    done = subprocess.run(line, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """With a database TEMPLATE that has the schema."""
    with tempfile.TemporaryDirectory(prefix="seawall-postgres-") as directory:
        os.chmod(directory, 0o755)
        server = PostgresServer(Path(directory) / "server", QUICK)
        server.initialise()
        server.start()
        try:
            server.sql(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0")
            PostgresqlDatabase(parse_address(server.url(TEMPLATE))).close()
            yield server
        finally:
            server.stop()


@pytest.fixture
def postgres_address(postgres_server: PostgresServer) -> Iterator[Address]:
    """A database with the schema and nothing in it, of this test's own."""
    with postgres_server.database(TEMPLATE) as address:
        yield address


@contextmanager
def own_server(access: str = "") -> Iterator[PostgresServer]:
    """A server that the test may kill: durable, with what a standby needs. `access`: a line before all others of pg_hba.conf."""
    with tempfile.TemporaryDirectory(prefix="seawall-postgres-") as directory:
        os.chmod(directory, 0o755)
        server = PostgresServer(Path(directory) / "server", DURABLE)
        server.initialise()
        rules = server.data / "pg_hba.conf"
        rules.write_text(f"{access}\n{rules.read_text()}")
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server that the test may kill."""
    with own_server() as server:
        yield server


def _own(directory: Path) -> None:
    directory.mkdir(parents=True)
    if os.geteuid() == 0:
        shutil.chown(directory, SUPERUSER, SUPERUSER)


def _user() -> str:
    """PostgreSQL refuses to be root. Debian's package made the user."""
    return SUPERUSER if os.geteuid() == 0 else ""
