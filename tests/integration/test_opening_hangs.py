"""A store that never answers while its repository is opened: `status` says so, and the others are opened all the same."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest
from typer.testing import CliRunner

from seawall.api.v1 import operator_pb2
from seawall.cli.main import app
from seawall.controller import app as composition
from seawall.controller.app import Application, Outside, serve
from seawall.controller.database.postgresql import PostgresqlDatabase
from seawall.controller.database.postgresql_address import Address
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.errors import FailedPrecondition, Unavailable
from seawall.controller.records.catalogue import RepositoryRecord
from seawall.controller.records.leadership import Replica
from seawall.controller.repositories import health, openings
from seawall.controller.server.drain import Drain
from seawall.controller.server.ports import BoundPorts
from seawall.controller.services import blocking
from seawall.controller.services.blocking import Blocking
from seawall.controller.store.transaction import Transaction
from seawall.repository.clock import Clock, SystemClock
from seawall.repository.errors import StoreRefused
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.port import ObjectInfo, Store
from support.controller_application import BRISK, Controller, configured, running
from support.controller_records import a_repository

WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'restore_points'::regclass"


class SilentStore:
    """One that answers nothing before `goes_on` is set, and then refuses. `asked` is set when somebody waits."""

    def __init__(self, url: str, goes_on: threading.Event, asked: threading.Event) -> None:
        self.url = url
        self._goes_on = goes_on
        self._asked = asked

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any, **__: Any) -> NoReturn:
            self._asked.set()
            assert self._goes_on.wait(60)
            raise StoreRefused(f"{name} is refused")

        return call


class Hanging:
    """The store, which lists no restore points before `goes_on` is set."""

    def __init__(self, inner: Store, goes_on: threading.Event, asked: threading.Event | None = None) -> None:
        """`asked` is set when somebody waits."""
        self._inner = inner
        self._goes_on = goes_on
        self._asked = asked or threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        if prefix == "v1/m/":
            self._asked.set()
            assert self._goes_on.wait(60)
        return self._inner.list(prefix)


def until(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def troubles(controller: Controller) -> list[operator_pb2.RepositoryTrouble]:
    return list(controller.backups.GetStatus(operator_pb2.GetStatusRequest()).repository_troubles)


def test_status_tells_of_an_opening_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openings, "QUIET_SECONDS", 0.3)
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.2)
    config, goes_on = configured(tmp_path / "state"), threading.Event()
    with running(config) as controller:
        main, other = (controller.add_folder(tmp_path / name, name) for name in ("main", "other"))
        until(lambda: all(controller.application._repositories.is_open(each.repository_id) for each in (main, other)))
        assert troubles(controller) == []

    def opened(url: str, credentials: S3Credentials | None, clock: Clock | None) -> Store:
        store = open_store(url, credentials, clock)
        return Hanging(store, goes_on) if url.endswith("/main") else store

    with running(config, open_store=opened) as controller:
        try:
            until(lambda: controller.application._repositories.is_open(other.repository_id))
            (told,) = until(lambda: troubles(controller))
            assert (told.name, told.repository_id) == ("main", main.repository_id)
            assert told.HasField("opening_since")
            assert told.trouble.startswith("opening since 20")
            assert "it waits for the lists of restore points and condemn logs (v1/m/" in told.trouble
            assert "check on the controller's machine" in told.trouble
            screen = CliRunner().invoke(app, ["status", "--config", str(config.operator_toml)]).stdout
            assert "Repositories that cannot be used now\n- main: opening since 20" in screen
            shown = controller.backups.GetRepository(operator_pb2.GetRepositoryRequest(repository="main")).repository
            assert shown.trouble.startswith("opening since 20")
        finally:
            goes_on.set()
        until(lambda: controller.application._repositories.is_open(main.repository_id) and not troubles(controller))


async def test_one_that_does_not_answer_keeps_nobody_else_from_being_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(health, "INTERVAL_SECONDS", 0.05)
    asked, goes_on, twice = [], threading.Event(), threading.Event()

    class Asked:
        def ask(self, repository_id: str) -> None:
            asked.append(repository_id)
            if repository_id == "first":
                assert goes_on.wait(20)
            elif asked.count(repository_id) == 2:
                twice.set()

    with closing(SqliteDatabase(tmp_path / "controller.sqlite")) as database:
        for name in ("first", "second"):
            database.write_now(lambda transaction, name=name: transaction.repositories.add_repository(record(name)))  # type: ignore[misc]
        drain, threads = Drain(), Blocking(2)
        watching = asyncio.create_task(health.watch_stores(Asked(), database, threads, drain))  # type: ignore[arg-type]
        try:
            assert await asyncio.to_thread(twice.wait, 20)
            assert asked.count("first") == 1, "not once more before it answered"
        finally:
            goes_on.set()
            drain.start()
            await watching
            threads.close()


async def test_a_store_that_hangs_keeps_no_drain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks it gives up, and so does who closes the threads."""
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(blocking, "CLOSE_SECONDS", 0.05)
    asked, goes_on = threading.Event(), threading.Event()

    class Asked:
        def ask(self, repository_id: str) -> None:
            asked.set()
            assert goes_on.wait(60)

    with closing(SqliteDatabase(tmp_path / "controller.sqlite")) as database:
        database.write_now(lambda transaction: transaction.repositories.add_repository(record("first")))
        drain, threads = Drain(), Blocking(2)
        watching = asyncio.create_task(health.watch_stores(Asked(), database, threads, drain))  # type: ignore[arg-type]
        try:
            assert await asyncio.to_thread(asked.wait, 20)
            drain.start()
            await asyncio.wait_for(watching, 5)
            await asyncio.wait_for(asyncio.to_thread(threads.close), 5)
            assert blocking.hung()
        finally:
            goes_on.set()
    await asyncio.to_thread(until, lambda: not blocking.hung())


def test_a_controller_ends_though_a_store_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its leader waits for the store in several places."""
    config, goes_on, asked = configured(tmp_path / "state"), threading.Event(), threading.Event()
    with running(config) as controller:
        main = controller.add_folder(tmp_path / "main", "main")
        until(lambda: controller.application._repositories.is_open(main.repository_id))

    def opened(url: str, credentials: S3Credentials | None, clock: Clock | None) -> Store:
        return Hanging(open_store(url, credentials, clock), goes_on, asked)

    try:
        with running(config, replace(BRISK, drain_grace_seconds=0.5), opened):
            assert asked.wait(20)
            began = time.monotonic()
        assert time.monotonic() - began < 15
        assert blocking.hung()
    finally:
        goes_on.set()
    until(lambda: not blocking.hung())


@pytest.mark.timeout(60)
async def test_who_lost_the_lead_while_a_store_hangs_ends_and_does_not_begin_anew(
    postgres_address: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each term that began would leave its threads, and all that they hold, behind."""
    monkeypatch.setattr(blocking, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(blocking, "PATIENCE_SECONDS", 0.05)
    asked, goes_on = threading.Event(), threading.Event()
    outside = Outside(
        SystemClock(),
        open_store=lambda url, credentials, clock: SilentStore(url, goes_on, asked),
        timings=replace(BRISK, leader_lease_seconds=3.0, drain_grace_seconds=0.5),
    )
    with closing(PostgresqlDatabase(postgres_address)) as database:
        database.write_now(lambda transaction: transaction.repositories.add_repository(record("first")))
        serving = asyncio.create_task(serve(configured(tmp_path / "state", postgres_address.url), outside))
        try:
            assert await asyncio.to_thread(asked.wait, 20)
            database.write_now(another_leads)
            with pytest.raises(Unavailable) as caught:
                await asyncio.wait_for(serving, 20)
            assert caught.value.reason == "STORE_HANGS"
        finally:
            goes_on.set()
    await asyncio.to_thread(until, lambda: not blocking.hung())


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_who_lost_the_lead_while_the_database_was_slow_begins_anew(
    postgres_address: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No store hangs: what the threads wait for ends when the database is closed."""
    monkeypatch.setattr(blocking, "CLOSE_SECONDS", 0.05)
    outside = Outside(SystemClock(), timings=replace(BRISK, leader_lease_seconds=3.0, drain_grace_seconds=0.5))
    terms: list[Application] = []

    class Counted(Application):
        async def start(self) -> BoundPorts:
            terms.append(self)
            if len(terms) > 1:
                self._close()
                raise FailedPrecondition("BEGUN_ANEW", "That is all that is to be seen.")
            return await super().start()

    monkeypatch.setattr(composition, "Application", Counted)
    with closing(PostgresqlDatabase(postgres_address)) as database, psycopg.connect(postgres_address.url) as other:
        serving = asyncio.create_task(serve(configured(tmp_path / "state", postgres_address.url), outside))
        await asyncio.to_thread(until, lambda: database.read_now(lambda each: each.leadership.lease()).holder)
        other.execute("LOCK TABLE restore_points IN ACCESS EXCLUSIVE MODE")
        await asyncio.to_thread(until, lambda: other.execute(WAITING).fetchone() != (0,))
        await asyncio.to_thread(database.write_now, another_leads)
        with pytest.raises(FailedPrecondition) as caught:
            await asyncio.wait_for(serving, 50)
        assert caught.value.reason == "BEGUN_ANEW"


def test_a_process_ends_though_one_of_its_threads_hangs() -> None:
    """Python itself would wait for the thread."""
    program = (
        "import asyncio, threading, seawall.controller.services.blocking as blocking\n"
        "from seawall.cli.controller_process import end\n"
        "async def main():\n"
        "    threads, asked = blocking.Blocking(1), threading.Event()\n"
        "    def hang(): asked.set(); threading.Event().wait()\n"
        "    call = asyncio.create_task(threads.run(hang))\n"
        "    await asyncio.to_thread(asked.wait)\n"
        "    threads.close()\n"
        "asyncio.run(main())\n"
        "print('closed')\n"
        "end(3)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout) == (3, "closed\n")


def another_leads(transaction: Transaction) -> None:
    """Whoever leads stood still for too long, as this one sees it."""
    row, other = transaction.leadership.lease(), Replica("another", "0.1.0", "127.0.0.1:1", "127.0.0.1:2")
    assert transaction.leadership.take(row, other, row.expires_us, 60_000_000)


def record(name: str) -> RepositoryRecord:
    return replace(a_repository(name, name), url=f"file:///{name}")
