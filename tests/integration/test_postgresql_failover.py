"""A primary dies and its standby, which lacks the last transactions, takes over: what the bucket knows comes back, once."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from seawall.controller.database.postgresql_address import parse_address
from seawall.controller.records.runs import AttemptState
from seawall.repository.forgetting.leaders import leader_mark
from seawall.repository.format.layout import EPOCHS_PREFIX
from seawall.repository.store.folder import FolderStore
from support.postgresql import DURABLE, PostgresServer
from support.replicas import FileHost, Replicas, file_hosts, lease_row_of, replicas


@pytest.fixture
def standby(own_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """Follows the primary, asynchronously."""
    with tempfile.TemporaryDirectory(prefix="seawall-postgres-") as directory:
        os.chmod(directory, 0o755)
        server = PostgresServer(Path(directory) / "standby", DURABLE)
        server.copy_of(own_postgres)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@dataclass(frozen=True)
class Epochs:
    """As a server has them. `opened`: the epoch that the repository was last opened as."""

    database: int
    timeline: str
    leader: int
    opened: int


def epochs(server: PostgresServer, name: str) -> Epochs:
    ((database, timeline),) = server.sql("SELECT db_epoch, pg_timeline FROM meta", name)
    ((leader,),) = server.sql("SELECT epoch FROM leader", name)
    ((opened,),) = server.sql("SELECT opened_epoch FROM gc", name)
    return Epochs(int(str(database)), str(timeline), int(str(leader)), int(str(opened)))


def announced(made: Replicas) -> list[int]:
    """Epochs of leaders as the bucket has them, in order."""
    marks = (leader_mark(info.name) for info in FolderStore(made.folder / "repository").list(EPOCHS_PREFIX))
    return sorted(mark.epoch for mark in marks if mark is not None)


def over(answer: Any) -> bool:
    return str(answer["state"]) in ("succeeded", "succeeded_with_warnings", "failed", "canceled")


async def backed_up(made: Replicas, host: FileHost, change: bytes) -> tuple[str, bytes]:
    """(point, what the disk was)."""
    with host.image.open("r+b") as image:
        image.seek(100_000)
        image.write(change * 50_000)
    (run,) = (await made.until(lambda _: True, "backup", "vm-0"))["runs"]
    ended = await made.until(over, "run", "show", run["run_id"])
    assert ended["state"] == "succeeded", (ended, made.logs())
    return run["run_id"], host.image.read_bytes()


async def restored(made: Replicas, host: FileHost, point_id: str) -> set[bytes]:
    """All that was restored until now."""
    (run,) = (await made.asked("restore", point_id, "--to", host.name, "--as", "copy"))["runs"]
    ended = await made.until(over, "run", "show", run["run_id"])
    assert ended["state"] == "succeeded", (ended, made.logs())
    return set(host.restored())


@pytest.mark.slow
async def test_points_of_lost_transactions_come_back_from_the_bucket(
    own_postgres: PostgresServer, standby: PostgresServer, tmp_path: Path
) -> None:
    """One point is known to the standby, one was published after it was cut off; a run was under way when the primary died."""
    name = own_postgres.new_database().url.rpartition("/")[2]
    url = f"postgresql://postgres@127.0.0.1:{own_postgres.port},127.0.0.1:{standby.port}/{name}"
    servers = [own_postgres]
    async with (
        replicas(tmp_path, url, lease_row_of(lambda: servers[-1], parse_address(url))) as made,
        file_hosts(made, 1) as (host,),
    ):
        kept, kept_image = await backed_up(made, host, b"a")
        while not standby.caught_up(own_postgres):
            await asyncio.sleep(0.02)
        standby.stop_following()
        lost, lost_image = await backed_up(made, host, b"b")
        host.slow(True)
        (open_run,) = (await made.asked("backup", "vm-0"))["runs"]
        await made.until(lambda run: bool(run["attempts"]), "run", "show", open_run["run_id"])
        assert standby.sql("SELECT id FROM restore_points", name) == [(kept,)], "the standby lacks what is to come back"
        before, announced_before = epochs(own_postgres, name), announced(made)
        own_postgres.end(signal.SIGQUIT)
        servers.append(standby)
        await asyncio.to_thread(standby.promote)
        host.slow(False)

        def adopted(answer: Any) -> bool:
            return {point["point_id"] for point in answer["points"]} >= {kept, lost}

        found = (await made.until(adopted, "point", "list"))["points"]
        assert len(found) == len({point["point_id"] for point in found})
        after, after_image = await backed_up(made, host, b"c")
        assert await restored(made, host, kept) >= {kept_image}
        assert await restored(made, host, lost) >= {lost_image}
        assert await restored(made, host, after) >= {after_image}
        listed = [point["point_id"] for point in (await made.asked("point", "list"))["points"]]
        assert sorted(listed) == sorted({*listed}), "none doubled"
        assert {kept, lost, after} <= {*listed}
        assert {*listed} <= {kept, lost, after, open_run["run_id"]}
        now, announced_now = epochs(standby, name), announced(made)
        assert (before.timeline, now.timeline) == ("00000001", "00000002")
        # Once for the timeline, before anything is assigned; once more as a point was adopted: that proves a put-back by itself.
        assert now.database > before.database, "attempts of before are fenced"
        of_before = standby.sql(f"SELECT state FROM attempts WHERE db_epoch <= {before.database}", name)
        assert not [state for (state,) in of_before if AttemptState(str(state)).live], "none goes on"
        ((last,),) = standby.sql(f"SELECT max(db_epoch) FROM attempts WHERE run_id = '{after}'", name)
        assert last == now.database
        assert announced_now[: len(announced_before)] == announced_before, "the bucket forgets no leader"
        assert len(set(announced_now)) == len(announced_now), (
            "no epoch is given twice, also none of those that the standby never heard of"
        )
        assert now.opened in announced_now[len(announced_before) :], "the database was opened as the bucket has it"
        assert now.leader >= now.opened > max(announced_before[-1], before.leader)
