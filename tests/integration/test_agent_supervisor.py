"""The supervisor against a scripted controller over real mTLS, with real worker processes."""

import asyncio
import contextlib
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from seawall.agent.capture.names import places
from seawall.agent.control.messages import AttemptRef
from seawall.agent.disk.host_storages import HostStorages
from seawall.agent.health import AgentNotRunning, read_status
from seawall.api.v1 import resources_pb2 as resources
from support.agent_host import AgentHost, enrolled_host
from support.agent_memory_hypervisor import vm
from support.scripted_controller import ScriptedController

VM = "11111111-1111-4111-8111-111111111111"
LOCAL_MOUNTS = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /var rw - ext4 /dev/sda2 rw\n"
NFS_MOUNT = "3 2 0:9 / /var/lib rw - nfs4 nas:/vol1 rw\n"


@pytest.fixture
async def controller() -> AsyncIterator[ScriptedController]:
    async with ScriptedController().serving() as serving:
        yield serving


@pytest.fixture
def host(tmp_path: Path, controller: ScriptedController) -> AgentHost:
    host = enrolled_host(tmp_path, controller)
    host.hypervisor.add(vm(VM, "web"))
    return host


def pid_of(controller: ScriptedController, attempt_id: str) -> int:
    return int(controller.progress[attempt_id].phase.removeprefix("pid "))


def scratch_of(host: AgentHost, attempt_id: str) -> Path:
    return places(host.config.run_dir, host.config.scratch_dir, attempt_id).scratch


def frozen_by(host: AgentHost, attempt_id: str) -> Path:
    """The mark of a guest that the attempt froze."""
    mark = places(host.config.run_dir, host.config.scratch_dir, attempt_id).frozen_mark
    mark.parent.mkdir(parents=True)
    mark.write_text(VM)
    return mark


async def until_gone(path: Path) -> None:
    async with asyncio.timeout(10):
        while path.exists():
            await asyncio.sleep(0.01)


def transferring(controller: ScriptedController, attempt_id: str) -> bool:
    report = controller.progress.get(attempt_id)
    return report is not None and report.state == resources.ATTEMPT_STATE_TRANSFERRING


async def test_a_session_opens_with_the_hosts_facts_and_its_inventory(
    controller: ScriptedController, host: AgentHost
) -> None:
    async with host.running():
        await controller.until(lambda: bool(controller.inventory) and controller.heartbeats > 1)
        hello = controller.hellos[0]
        assert (hello.host_name, hello.hypervisor_version, hello.protocol_min) == ("alpha", "memory 1.0", 1)
        assert [(item.vm_id, item.name, item.disks[0].disk) for item in controller.inventory] == [(VM, "web", "vda")]


async def test_a_change_of_the_inventory_is_told_quickly_and_large_ones_come_in_pages(
    controller: ScriptedController, host: AgentHost
) -> None:
    async with host.running():
        await controller.until(lambda: len(controller.inventory) == 1)
        for number in range(450):
            host.hypervisor.add(vm(f"{number:08}-0000-4000-8000-000000000000", f"vm{number}"))
        await controller.until(lambda: len(controller.inventory) == 451)
        assert [len(page.vms) for page in controller.inventory_pages] == [200, 200, 51]
        assert [page.last for page in controller.inventory_pages] == [False, False, True]


async def test_the_inventory_tells_where_disks_lie_also_when_only_the_mounts_changed(
    controller: ScriptedController, host: AgentHost, tmp_path: Path
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(LOCAL_MOUNTS)
    async with replace(host, located=HostStorages(mounts).located).running():
        await controller.until(lambda: bool(controller.inventory))
        assert list(controller.inventory[0].disks[0].storages) == ["/var"]
        mounts.write_text(LOCAL_MOUNTS + NFS_MOUNT)
        await controller.until(lambda: list(controller.inventory[0].disks[0].storages) == ["nfs:nas:/vol1"])


async def test_an_assignment_becomes_a_worker_whose_progress_rides_on_heartbeats(
    controller: ScriptedController, host: AgentHost
) -> None:
    async with host.running():
        attempt = controller.assign("work", vm_id=VM)
        await controller.until(lambda: transferring(controller, attempt))
        disk = controller.progress[attempt].disks[0]
        assert (disk.disk, disk.read_bytes, disk.how) == ("vda", 42, resources.READ_METHOD_FULL)
        health = await asyncio.to_thread(read_status, host.config.run_dir)
        assert health.connected and health.vm_count == 1
        assert [item.attempt_id for item in health.attempts] == [attempt]
        assert os.getpgid(health.attempts[0].pid) == health.attempts[0].pid != os.getpgid(0)
    with pytest.raises(AgentNotRunning):
        read_status(host.config.run_dir)


async def test_a_finished_worker_is_not_started_again_while_it_is_still_wanted(
    controller: ScriptedController, host: AgentHost
) -> None:
    async with host.running():
        done = controller.assign("done")
        await controller.until(lambda: bool((host.config.state_dir / "logs" / f"{done}.log").exists()))
        other = controller.assign("work")
        await controller.until(lambda: transferring(controller, other))
        count = controller.heartbeats
        await controller.until(lambda: controller.heartbeats > count + 2)
        assert controller.failures == []
        journal = host.journal()
        assert [item.ref.attempt_id for item in journal.open_attempts()] == [other]
        journal.close()


async def test_a_soft_cancel_is_obeyed(controller: ScriptedController, host: AgentHost) -> None:
    async with host.with_timing(cancel_grace=30.0).running():
        attempt = controller.assign("work")
        await controller.until(lambda: transferring(controller, attempt))
        controller.cancel(attempt)
        await controller.until(lambda: controller.failure_of(attempt) is not None)
        failure = controller.failure_of(attempt)
        assert failure is not None and failure.canceled and failure.failure.reason == "CANCELED"


async def test_a_worker_that_ignores_the_cancel_is_killed(controller: ScriptedController, host: AgentHost) -> None:
    async with host.running():
        attempt = controller.assign("stubborn")
        await controller.until(lambda: transferring(controller, attempt))
        pid = pid_of(controller, attempt)
        controller.cancel(attempt)
        await controller.until(lambda: controller.failure_of(attempt) is not None)
        failure = controller.failure_of(attempt)
        assert failure is not None and failure.canceled
        assert not Path(f"/proc/{pid}").exists()


async def test_a_cancel_before_the_start_starts_nothing(controller: ScriptedController, host: AgentHost) -> None:
    attempt = controller.assign("work")
    controller.cancel(attempt)
    async with host.running():
        await controller.until(lambda: controller.failure_of(attempt) is not None)
        assert not (host.config.state_dir / "logs" / f"{attempt}.log").exists()


async def test_a_crash_is_reported_with_code_and_last_words_and_swept(
    controller: ScriptedController, host: AgentHost
) -> None:
    async with host.running():
        attempt = controller.assign("crash", vm_id=VM)
        leftover = scratch_of(host, attempt)
        leftover.mkdir(parents=True)
        await controller.until(lambda: controller.failure_of(attempt) is not None)
        failure = controller.failure_of(attempt)
        assert failure is not None and not failure.canceled
        assert failure.failure.reason == "WORKER_EXITED"
        assert failure.failure.kind == resources.FAILURE_KIND_TRANSIENT
        assert "code 3" in failure.failure.message and "on fire" in failure.failure.message
    assert not leftover.exists()


async def test_a_killed_worker_names_the_signal(controller: ScriptedController, host: AgentHost) -> None:
    async with host.running():
        attempt = controller.assign("work")
        await controller.until(lambda: transferring(controller, attempt))
        os.kill(pid_of(controller, attempt), signal.SIGKILL)
        await controller.until(lambda: controller.failure_of(attempt) is not None)
        failure = controller.failure_of(attempt)
        assert failure is not None and "SIGKILL" in failure.failure.message


async def test_a_fenced_attempt_dies_without_a_report_and_its_successor_starts(
    controller: ScriptedController, host: AgentHost
) -> None:
    async with host.running():
        old = controller.assign("stubborn", vm_id=VM)
        await controller.until(lambda: transferring(controller, old))
        pid = pid_of(controller, old)
        controller.give_up(old)
        new = controller.assign("work", vm_id=VM)
        await controller.until(lambda: transferring(controller, new))
        assert not Path(f"/proc/{pid}").exists()
        assert controller.failure_of(old) is None


async def test_a_lost_session_is_renewed_and_workers_live_on(controller: ScriptedController, host: AgentHost) -> None:
    async with host.running():
        attempt = controller.assign("work")
        await controller.until(lambda: transferring(controller, attempt))
        controller.lose_session()
        await controller.until(lambda: len(controller.hellos) == 2)
        said = [(item.attempt.attempt_id, item.worker_running) for item in controller.hellos[1].attempts]
        assert said == [(attempt, True)]
        await controller.until(lambda: controller.progress[attempt].phase == f"session {controller.session_id}")
        assert controller.failures == []


async def test_stopping_the_agent_ends_workers_and_says_why(controller: ScriptedController, host: AgentHost) -> None:
    async with host.running():
        attempt = controller.assign("stubborn")
        await controller.until(lambda: transferring(controller, attempt))
        pid = pid_of(controller, attempt)
    assert not Path(f"/proc/{pid}").exists()
    failure = controller.failure_of(attempt)
    assert failure is not None and failure.failure.reason == "AGENT_STOPPING" and not failure.canceled


async def test_a_restart_sweeps_what_a_killed_agent_left(controller: ScriptedController, host: AgentHost) -> None:
    """As after SIGKILL: a worker lives, a job runs, a checkpoint was begun, scratch lies about. A committed checkpoint stays."""
    dead = controller.assign("work", vm_id=VM)
    orphan = await asyncio.create_subprocess_exec("sh", "-c", "read line", dead, stdin=asyncio.subprocess.PIPE)
    begun, kept = f"seawall-repo0001-{dead}", "seawall-repo0001-earlier"
    journal = host.journal()
    journal.begin_attempt(AttemptRef(dead, 1, 1), "run", VM, "backup")
    journal.set_worker(dead, orphan.pid)
    journal.note_checkpoint(kept, VM, "repo", "earlier")
    journal.keep_checkpoint(kept, committed=True)
    journal.note_checkpoint(begun, VM, "repo", dead)
    journal.close()
    host.hypervisor.begin_backup(VM, [], places(host.config.run_dir, host.config.scratch_dir, dead).socket, begun)
    host.hypervisor.marks[VM].append(kept)
    scratch_of(host, dead).mkdir(parents=True)
    async with host.running():
        await controller.until(lambda: controller.heartbeats > 0)
        assert await orphan.wait() == -signal.SIGKILL
        assert host.hypervisor.jobs == {} and host.hypervisor.marks[VM] == [kept]
        assert not scratch_of(host, dead).exists()
        said = [(item.attempt.attempt_id, item.worker_running) for item in controller.hellos[0].attempts]
        assert said == [(dead, False)]
    journal = host.journal()
    assert journal.open_attempts() == [] and journal.checkpoints() == {kept: "committed"}
    journal.close()


async def test_a_guest_that_a_dead_worker_left_frozen_is_thawed_once_it_answers(
    controller: ScriptedController, host: AgentHost
) -> None:
    host.hypervisor.silent_guests.add(VM)
    async with host.running():
        attempt = controller.assign("work", vm_id=VM)
        await controller.until(lambda: transferring(controller, attempt))
        mark = frozen_by(host, attempt)
        os.kill(pid_of(controller, attempt), signal.SIGKILL)
        await controller.until(lambda: controller.failure_of(attempt) is not None)
        assert mark.exists()
        host.hypervisor.silent_guests.clear()
        await until_gone(mark)


async def test_a_mark_that_is_left_by_a_clean_end_is_swept_too(controller: ScriptedController, host: AgentHost) -> None:
    host.hypervisor.silent_guests.add(VM)
    async with host.running():
        mark = frozen_by(host, controller.assign("done", vm_id=VM))
        other = controller.assign("work", vm_id=VM)
        await controller.until(lambda: transferring(controller, other))
        host.hypervisor.silent_guests.clear()
        await until_gone(mark)


async def test_a_job_that_could_not_be_ended_is_tried_again(controller: ScriptedController, host: AgentHost) -> None:
    socket = places(host.config.run_dir, host.config.scratch_dir, "dead").socket
    host.hypervisor.begin_backup(VM, [], socket, None)
    host.hypervisor.stuck_jobs.add(VM)
    async with host.running():
        await controller.until(lambda: controller.heartbeats > 1)
        assert VM in host.hypervisor.jobs
        host.hypervisor.stuck_jobs.clear()
        async with asyncio.timeout(10):
            while host.hypervisor.jobs:
                await asyncio.sleep(0.01)


async def test_a_broken_journal_keeps_no_guest_frozen(controller: ScriptedController, host: AgentHost) -> None:
    host.journal().close()
    with contextlib.closing(sqlite3.connect(host.config.state_dir / "journal.sqlite")) as database:
        database.execute("DROP TABLE checkpoints")
        database.execute("CREATE VIEW checkpoints AS SELECT missing FROM nowhere")
    host.hypervisor.marks[VM] = ["seawall-repo0001-dead"]
    mark = frozen_by(host, "dead")
    async with host.running():
        await controller.until(lambda: controller.heartbeats > 0)
        assert not mark.exists() and host.hypervisor.marks[VM] == ["seawall-repo0001-dead"]


async def test_a_silent_hypervisor_does_not_stop_the_agent(controller: ScriptedController, host: AgentHost) -> None:
    host.hypervisor.broken = True
    async with host.with_timing(inventory=0.05).running():
        await controller.until(lambda: controller.heartbeats > 1)
        assert controller.inventory == []
        host.hypervisor.broken = False
        await controller.until(lambda: len(controller.inventory) == 1)


async def test_an_old_certificate_is_renewed_saved_and_used(tmp_path: Path, controller: ScriptedController) -> None:
    old = controller.authority.identity(controller.address, age=timedelta(days=6), life=timedelta(days=7))
    host = enrolled_host(tmp_path, controller, old)
    async with host.running():
        await controller.until(lambda: len(controller.client_certificates) == 2)
        new = host.identity
        assert new.private_key_pem != old.private_key_pem and new.agent_id == old.agent_id
        assert new.certificate_pem.encode() in controller.client_certificates
        assert (host.config.state_dir / "identity.json").stat().st_mode & 0o777 == 0o600


async def test_a_controller_that_goes_and_comes_back_is_found_again(tmp_path: Path) -> None:
    controller = ScriptedController()
    async with controller.serving():
        host = enrolled_host(tmp_path, controller)
    async with host.running():
        while not await asyncio.to_thread(_last_error, host):
            await asyncio.sleep(0.01)
        async with controller.serving(port=int(controller.address.rpartition(":")[2])):
            await controller.until(lambda: controller.heartbeats > 0)
            while await asyncio.to_thread(_last_error, host):
                await asyncio.sleep(0.01)


def _last_error(host: AgentHost) -> str:
    """ "" also before the agent listens."""
    try:
        return read_status(host.config.run_dir).last_error
    except AgentNotRunning:
        return ""
