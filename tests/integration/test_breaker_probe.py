"""A store that was away for a while, and one long backup that tries it: who waits begins with its first pack, not with its end."""

from dataclasses import replace
from pathlib import Path

from seawall.api.v1 import resources_pb2
from seawall.controller.admission.breaker import FAILURES, LONGEST_PAUSE_US
from seawall.controller.records.limits import Breaker, Scope
from seawall.repository.clock import SystemClock
from support.controller_agent import enrolled
from support.controller_application import Controller, configured, running
from support.memory_disks import BLOCK, ModelDisk

DISK_BYTES = 1 << 20


def break_repository(controller: Controller, repository_id: str) -> None:
    """Long enough ago for one to try."""
    breaker = Breaker(Scope.REPOSITORY, repository_id, FAILURES, 0, "STORE_UNAVAILABLE", "no route")
    then = replace(breaker, last_us=SystemClock().now_us() - LONGEST_PAUSE_US)
    controller.application._database.write_now(lambda transaction: transaction.limits.save_breaker(then))


def test_the_first_pack_that_the_probe_stores_lets_all_others_begin(tmp_path: Path) -> None:
    with running(configured(tmp_path / "controller")) as controller:
        repository = controller.add_folder(tmp_path / "bucket")
        probe, other = enrolled(controller, "kvm-0"), enrolled(controller, "kvm-1")
        for number, agent in enumerate((probe, other)):
            agent.inventory(
                {"vda": DISK_BYTES}, vm_id=f"00000000-0000-4000-8000-00000000000{number}", vm_name=f"vm-{number}"
            )
        break_repository(controller, repository.repository_id)
        controller.start_backup("vm-0")
        assignment = probe.next_assignment()
        waiting = controller.start_backup("vm-1")
        controller.watch(waiting.run_id, lambda run: "one attempt is trying" in run.blocked_on)
        grant = probe.accept(assignment.attempt).backup
        disk = ModelDisk(DISK_BYTES)
        disk.write(0, b"x" * BLOCK)
        probe.write(assignment.attempt, grant, {"vda": disk.source()})
        controller.watch(waiting.run_id, lambda run: run.state == resources_pb2.RUN_STATE_ACTIVE)
        assert controller.run(assignment.run_id).state == resources_pb2.RUN_STATE_ACTIVE
