"""Two whole controllers whose machines' clocks are ten minutes apart, and agents: one time for all, no lease stolen, nobody offline."""

import asyncio
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from support.postgresql import PostgresServer
from support.replicas import LEASE_SECONDS, FileHost, Replicas, file_hosts, lease_row_of, replicas

APART_SECONDS = 600
LONGEST_SECONDS = 120.0
"""Of anything here. A time of the wrong clock shows as ten minutes."""


def moving(run: Any) -> bool:
    return bool(run["attempts"]) and run["attempts"][-1]["state"] == "transferring"


def over(run: Any) -> bool:
    return str(run["state"]) in ("succeeded", "succeeded_with_warnings", "failed", "canceled")


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def times_of(run: Any) -> list[float]:
    """In the order in which these things happened."""
    (attempt,) = run["attempts"]
    return [moment(text) for text in (run["created_at"], attempt["created_at"], attempt["ended_at"], run["ended_at"])]


async def begun(made: Replicas, hosts: list[FileHost]) -> list[str]:
    """Runs of all VMs, in the middle of their transfer until `finished`."""
    for host in hosts:
        host.hold(True)
    runs = (await made.asked("backup", *[f"vm-{number}" for number in range(len(hosts))]))["runs"]
    for run in runs:
        await made.until(moving, "run", "show", run["run_id"])
    return [run["run_id"] for run in runs]


async def finished(made: Replicas, hosts: list[FileHost], run_ids: list[str]) -> list[float]:
    """All their times, each run's in order. Every one succeeded at the first try."""
    for host in hosts:
        host.hold(False)
    found = []
    for run_id in run_ids:
        run = await made.until(over, "run", "show", run_id)
        assert run["state"] == "succeeded", (run, made.logs())
        times = times_of(run)
        assert times == sorted(times), run
        found += times
    return found


async def online(made: Replicas, seconds: float) -> None:
    """For so long every host, asked again and again, of whichever controller."""
    ends = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < ends:
        hosts = (await made.asked("host", "list"))["hosts"]
        assert all(host["online"] for host in hosts), (hosts, made.logs())


@pytest.mark.slow
@pytest.mark.parametrize("wrong_seconds", [(APART_SECONDS, 0), (0, APART_SECONDS)])
async def test_ten_minutes_between_two_controllers_are_nothing_to_hosts_and_leases(
    postgres_server: PostgresServer, tmp_path: Path, wrong_seconds: tuple[int, int]
) -> None:
    """The lead passes from one clock to the other and back, each time in the middle of backups."""
    address = postgres_server.new_database()
    lease_row = lease_row_of(lambda: postgres_server, address)
    async with (
        replicas(tmp_path, address.url, lease_row, wrong_seconds=wrong_seconds) as made,
        file_hosts(made, 2) as found,
    ):
        hosts = list(found)
        times: list[float] = []
        for _ in range(3):
            for each in made.members:
                await each.serves()
            leader = await made.led()
            row = lease_row()
            run_ids = await begun(made, hosts)
            await online(made, 3 * LEASE_SECONDS)
            assert lease_row() == row, "nobody stole the lease of one whose clock is another"
            leader.end(signal.SIGKILL)
            await asyncio.wait_for(made.led(but=leader), 60)
            times += await finished(made, hosts, run_ids)
            await online(made, LEASE_SECONDS)
            leader.start()
        assert max(times) - min(times) < 3 * LONGEST_SECONDS, "one time for all, whoever led"
        assert sum(each.log.count("clock.agreed_with_leader") > 0 for each in made.members) >= 1
        assert all(each.log.count("leader.acquired") <= 2 for each in made.members), made.logs()
        points = (await made.asked("point", "list"))["points"]
        assert len(points) == 6
        assert all(min(times) <= moment(point["published_at"]) <= max(times) for point in points)
