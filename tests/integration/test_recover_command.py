"""`seawall controller recover` with real processes: a controller with policies and holds is lost, its bucket and the sheet are left."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from seawall.agent.join import join_host
from seawall.controller.config import load_config
from seawall.controller.initialise import initialise
from seawall.controller.recovering.exporting import export_of
from seawall.controller.recovering.packing import unpack_points
from seawall.repository.clock import SystemClock
from seawall.repository.exports import newest_export
from seawall.repository.format.keyfile import RECOVERY_WRAPPER
from seawall.repository.recovery_sheet import parse_recovery_sheet
from seawall.repository.repository import open_repository
from seawall.repository.store.folder import FolderStore
from support.cli_command import Cli
from support.controller_application import free_port
from support.replicas import TIMINGS, FileHost, ReplicaProcess, Replicas, file_hosts

EACH_MINUTE = """policy: each-minute
repository: main
select: {names: [vm-0]}
schedule: {cron: "* * * * *", zone: UTC}
retention: {last: 20}
verify: 30d
"""


@dataclass
class Site:
    """One controller on SQLite, as a process, and its operator."""

    folder: Path
    made: Replicas

    @property
    def controller(self) -> ReplicaProcess:
        return self.made.members[0]

    def recover(self, *words: str) -> Any:
        answer = self.made.cli(
            "controller", "recover", "--config-file", str(self.controller.file), "--key", str(self.folder / "recovery.key"),
            *words, "--json",
        )  # fmt: skip
        assert answer.code == 0, (answer.out, answer.err)
        return answer.json

    def exported_points(self) -> dict[str, Any]:
        """Facts of the points in the newest export."""
        key = parse_recovery_sheet((self.folder / "recovery.key").read_text()).secret_key
        found = newest_export(open_repository(FolderStore(self.folder / "repository"), RECOVERY_WRAPPER, key))
        return unpack_points(export_of(found.document).points) if found else {}

    async def shown(self, known: set[str]) -> dict[str, Any]:
        """What must come back. `known`: of these points."""
        points = (await self.made.asked("point", "list"))["points"]
        policies = (await self.made.asked("policy", "list"))["policies"]
        return {
            "points": [
                (each["point_id"], each["vm_name"], each["host_name"], each["policy"], len(each["holds"]))
                for each in points
                if each["point_id"] in known
            ],
            "policies": [(each["name"], each["document"]) for each in policies],
            "limits": (await self.made.asked("limit", "list"))["limits"],
            "vm": (await self.made.asked("vm", "show", "vm-0"))["settings"],
        }


def configured(folder: Path, name: str, ports: tuple[int, int]) -> ReplicaProcess:
    """A controller that was made and does not run."""
    operator, agent = ports
    file = folder / f"{name}.toml"
    file.write_text(
        f'state_dir = "{folder / name}"\noperator_listen = "127.0.0.1:{operator}"\nagent_listen = "127.0.0.1:{agent}"\n'
        f'enrol_address = "127.0.0.1:{operator}"\nagent_address = "127.0.0.1:{agent}"\n'
        f"{TIMINGS}export_seconds = 1\nverify_new_seconds = 0.3\n"
    )
    process = ReplicaProcess(load_config(file), file)
    initialise(process.config, SystemClock())
    return process


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    process = configured(tmp_path, "first", (free_port(), free_port()))
    cli = Cli(tmp_path, process.config.operator_toml)
    made = Replicas(tmp_path, [process], cli, lambda: ("", ""))
    try:
        process.start()
        (tmp_path / "repository").mkdir()
        url = (tmp_path / "repository").as_uri()
        await made.until(lambda _: True, "repo", "add", "main", url, "--recovery-key", str(tmp_path / "recovery.key"))
        yield Site(tmp_path, made)
    finally:
        for each in made.members:
            each.end()


def over(run: Any) -> bool:
    return str(run["state"]) in ("succeeded", "succeeded_with_warnings", "failed", "canceled")


async def backed_up(made: Replicas, name: str) -> Any:
    (run,) = (await made.until(lambda _: True, "backup", name))["runs"]
    ended = await made.until(over, "run", "show", run["run_id"])
    assert ended["state"] == "succeeded", (ended, made.logs())
    return await made.asked("point", "show", run["run_id"])


async def settled(site: Site, hosts: list[FileHost]) -> dict[str, bytes]:
    """Points by hand and one of a policy, one held, a limit, settings; all of it exported. Point -> what its disk was, of those by hand."""
    made, images = site.made, {}
    for number, host in enumerate(hosts):
        point = await backed_up(made, f"vm-{number}")
        images[point["point_id"]] = host.image.read_bytes()
    (site.folder / "p.yaml").write_text(EACH_MINUTE)
    await made.asked("policy", "apply", "-f", str(site.folder / "p.yaml"))
    await made.asked("point", "hold", next(iter(images)), "--reason", "the auditors ask")
    await made.asked("limit", "set", "repository:main", "--transferring", "7")
    await made.asked("vm", "protect", "vm-0", "--limit", "50MB/s")
    await made.until(lambda answer: any(each["policy"] for each in answer["points"]), "point", "list")
    return images


async def exported(site: Site, by_hand: Collection[str]) -> set[str]:
    """Points in the newest export, once those by hand are there and verified, and one of the policy. More may come at any moment."""
    while True:
        facts = await asyncio.to_thread(site.exported_points)
        of_policy = [each for each in facts.values() if each.policy_id]
        if of_policy and all(point_id in facts and facts[point_id].verified for point_id in by_hand):
            return set(facts)
        await asyncio.sleep(0.2)


async def restored_whole(made: Replicas, host: FileHost, point_id: str, image: bytes) -> None:
    run = (await made.asked("restore", point_id, "--to", host.name, "--as", "copy"))["runs"][0]
    ended = await made.until(over, "run", "show", run["run_id"])
    assert ended["state"] == "succeeded", ended
    assert image in host.restored()


async def fires_again(site: Site, known: set[str]) -> None:
    def fired(answer: Any) -> bool:
        return any(each["policy"] == "each-minute" and each["point_id"] not in known for each in answer["points"])

    await site.made.until(fired, "point", "list")


@pytest.mark.slow
async def test_the_database_is_lost(site: Site) -> None:
    """Keys and certificates are left: the hosts come back by themselves, with all that they stored."""
    made = site.made
    async with file_hosts(made, 2, 3_000_000) as hosts:
        images = await settled(site, list(hosts))
        known = await exported(site, images)
        before = await site.shown(known)
        site.controller.end(signal.SIGKILL)
        for file in site.controller.config.state_dir.glob("controller.sqlite*"):
            file.unlink()
        shutil.rmtree(site.controller.config.state_dir / "index")
        plan = await asyncio.to_thread(site.recover, "--plan")
        assert plan["found"]["points"] >= len(known) and plan["found"]["vms"] == 2
        done = await asyncio.to_thread(site.recover)
        assert done["recovered"]["points"] == plan["found"]["points"]
        assert done["hosts_must_join"] == done["left_out"] == []
        again = await asyncio.to_thread(site.recover)
        assert (again["recovered"]["points"], again["recovered"]["points_known"]) == (0, plan["found"]["points"])
        site.controller.start()
        await made.until(lambda answer: len(answer["vms"]) == 2, "vm", "list")
        assert await site.shown(known) == before
        listed = {each["point_id"] for each in (await made.asked("point", "list"))["points"]}
        for host, (point_id, image) in zip(hosts, images.items(), strict=True):
            await restored_whole(made, host, point_id, image)
        point = await backed_up(made, "vm-1")
        assert sum(disk["new_bytes"] for disk in point["disks"]) < 300_000, "dedup goes on"
        refused = await made.seawall("point", "delete", next(iter(images)), "--yes", "--json")
        assert refused.code != 0, "its hold is back"
        await fires_again(site, listed)


@pytest.mark.slow
async def test_everything_but_the_bucket_is_lost(site: Site) -> None:
    """Another controller, made anew in the same place. The hosts join again, and an operator says that their VMs are theirs."""
    made = site.made
    async with file_hosts(made, 1, 3_000_000) as (host,):
        images = await settled(site, [host])
        known = await exported(site, images)
        before = await site.shown(known)
        ports = tuple(
            int(each.rpartition(":")[2])
            for each in (site.controller.config.operator_listen, site.controller.config.agent_listen)
        )
        site.controller.end(signal.SIGKILL)
        made.members[0] = configured(site.folder, "second", (ports[0], ports[1]))
        made.cli = replace(made.cli, operator_toml=site.controller.config.operator_toml)
        done = await asyncio.to_thread(site.recover)
        assert done["hosts_must_join"] == ["host-0"]
        site.controller.start()
        token = (await made.until(lambda _: True, "host", "token"))["token"]
        await asyncio.to_thread(join_host, host.host.config, token, force=True, clock=SystemClock())
    async with host.host.running():
        await made.until(lambda answer: any(vm["state"] == "running" for vm in answer["vms"]), "vm", "list")
        after = await site.shown(known)
        assert [point[0] for point in after["points"]] == [point[0] for point in before["points"]]
        assert after["policies"] == before["policies"]
        listed = {each["point_id"] for each in (await made.asked("point", "list"))["points"]}
        point = await backed_up(made, "vm-0")
        assert sum(disk["new_bytes"] for disk in point["disks"]) < 300_000, (
            "what was verified need not be uploaded again"
        )
        await restored_whole(made, host, *next(iter(images.items())))
        await fires_again(site, listed)
