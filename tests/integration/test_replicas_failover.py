"""The database's primary dies and loses its last transactions, while controllers die at random: by seed, and no point is lost."""

import asyncio
import os
import random
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from seawall.controller.database.postgresql_address import parse_address
from support.postgresql import DURABLE, PostgresServer
from support.replicas import FileHost, Replicas, file_hosts, lease_row_of, replicas

OVER = ("succeeded", "succeeded_with_warnings", "failed", "canceled")
SERVES_SECONDS = 15.0
"""At most between the start of one and the death of the next: a machine that is busy needs time to start one."""
LOST = "lost"
"""Of a run that the database no longer knows."""


@dataclass
class Machines:
    """Two: the one that leads the database, and the one that follows it from `follow` on."""

    primary: PostgresServer
    standby: PostgresServer

    def follow(self) -> None:
        self.standby.copy_of(self.primary)
        self.standby.start()
        while not self.standby.caught_up(self.primary):
            time.sleep(0.02)

    def fail_over(self) -> None:
        """The standby takes over with what it has."""
        self.primary.end(signal.SIGQUIT)
        self.primary = self.standby
        self.primary.promote()


@pytest.fixture
def machines(own_postgres: PostgresServer) -> Iterator[Machines]:
    with tempfile.TemporaryDirectory(prefix="seawall-postgres-") as directory:
        os.chmod(directory, 0o755)
        found = Machines(own_postgres, PostgresServer(Path(directory) / "standby", DURABLE))
        try:
            yield found
        finally:
            found.standby.stop()


@dataclass
class History:
    """What may be found, and what must be."""

    disks: dict[str, list[bytes]] = field(default_factory=dict)
    """VM -> what its disk was at any backup; a command that was repeated may have begun one that nobody was told of."""
    images: dict[str, bytes] = field(default_factory=dict)
    """Run -> what the disk was."""
    acknowledged: set[str] = field(default_factory=set)
    """Runs, and so points, of which somebody was told that they succeeded."""


@asynccontextmanager
async def killing(made: Replicas, chance: random.Random) -> AsyncIterator[None]:
    """Meanwhile controllers die at random, at most one at a time, and start again."""

    async def kill() -> None:
        while True:
            await asyncio.sleep(chance.uniform(0.5, 4.0))
            victim = chance.choice(made.members)
            await asyncio.to_thread(victim.end, signal.SIGKILL)
            await asyncio.sleep(chance.uniform(0.0, 1.5))
            victim.start()
            with suppress(TimeoutError):  # the database may be away
                await asyncio.wait_for(victim.serves(), SERVES_SECONDS)

    task = asyncio.create_task(kill())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        for each in made.members:
            if each.process is None:
                each.start()


async def begun(made: Replicas, hosts: list[FileHost], history: History) -> list[str]:
    """Runs of all VMs."""
    names = [f"vm-{number}" for number in range(len(hosts))]
    runs = (await made.until(lambda _: True, "backup", *names))["runs"]
    for run in runs:
        image = hosts[names.index(run["vm_name"])].image.read_bytes()
        history.images[run["run_id"]] = image
        history.disks.setdefault(run["vm_name"], []).append(image)
    return [run["run_id"] for run in runs]


async def settled(made: Replicas, run_id: str) -> str:
    """The state in which it ended, as an operator was told; LOST."""
    while True:
        answer = await made.seawall("run", "show", run_id, "--json")
        if answer.code == 0 and answer.json["state"] in OVER:
            return str(answer.json["state"])
        if answer.code != 0 and answer.reason == "RUN_UNKNOWN":
            return LOST
        await asyncio.sleep(0.1)


async def told(made: Replicas, history: History, run_ids: list[str]) -> None:
    for run_id in run_ids:
        state = await asyncio.wait_for(settled(made, run_id), 240)
        assert state in (LOST, "succeeded", "succeeded_with_warnings"), (run_id, state, made.logs())
        if state != LOST:
            history.acknowledged.add(run_id)


async def listed(made: Replicas, history: History) -> list[dict[str, Any]]:
    """All points, once every one that was acknowledged is there."""

    def complete(answer: Any) -> bool:
        return history.acknowledged <= {point["point_id"] for point in answer["points"]}

    return list((await made.until(complete, "point", "list"))["points"])


def written(hosts: list[FileHost], chance: random.Random) -> None:
    for host in hosts:
        with host.image.open("r+b") as image:
            image.seek(chance.randrange(400_000))
            image.write(chance.randbytes(100_000))


async def restored(made: Replicas, host: FileHost, point_id: str) -> set[bytes]:
    """Whatever was restored on this host until now."""
    (run,) = (await made.until(lambda _: True, "restore", point_id, "--to", host.name, "--as", f"c{point_id[-9:]}"))[
        "runs"
    ]
    assert await asyncio.wait_for(settled(made, run["run_id"]), 60) == "succeeded", made.logs()
    return set(host.restored())


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
async def test_the_primary_dies_while_controllers_do(machines: Machines, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    name = machines.primary.new_database().url.rpartition("/")[2]
    url = f"postgresql://postgres@127.0.0.1:{machines.primary.port},127.0.0.1:{machines.standby.port}/{name}"
    history = History()
    async with (
        replicas(tmp_path, url, lease_row_of(lambda: machines.primary, parse_address(url)), 3) as made,
        file_hosts(made, 2) as found,
    ):
        hosts = list(found)
        await asyncio.to_thread(machines.follow)
        async with killing(made, chance):
            written(hosts, chance)
            await told(made, history, await begun(made, hosts, history))
            await asyncio.to_thread(machines.standby.stop_following)
            written(hosts, chance)
            await told(made, history, await begun(made, hosts, history))
            lost = len(history.acknowledged) - len(machines.standby.sql("SELECT id FROM restore_points", name))
            assert lost > 0, "the standby lacks points that were acknowledged"
            written(hosts, chance)
            last = await begun(made, hosts, history)
            await asyncio.sleep(chance.uniform(0.0, 2.0))
            await asyncio.to_thread(machines.fail_over)
            await told(made, history, last)
        points = await listed(made, history)
        print(f"seed {seed}: {lost} points were lost by the database, {len(points)} are there")
        ids = [point["point_id"] for point in points]
        assert sorted(ids) == sorted({*ids}), "none doubled"
        for point in points:
            point_id, vm_name = point["point_id"], point["vm_name"]
            after = await restored(made, hosts[int(vm_name.removeprefix("vm-"))], point_id)
            if point_id in history.images:
                assert history.images[point_id] in after, point_id
            else:
                assert after & {*history.disks[vm_name]}, point_id
