"""What the controller says of itself: a database without room, an event loop that is blocked, a clock that jumps."""

import random
import resource
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.errors import Unavailable
from seawall.controller.vitals import loop_lag
from support.controller_agent import ScriptedAgent, enrolled
from support.controller_application import Controller, configured, reason_of, running
from support.controller_records import a_repository, a_run
from support.memory_disks import ModelDisk
from support.operator_words import Operator
from support.shifted_clock import ShiftedClock

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SIZE = 1 << 20
MIB = 1 << 20
OTHER_VM = str(uuid.UUID(int=77))


def health(controller: Controller) -> int:
    return int(health_pb2_grpc.HealthStub(controller.channel).Check(health_pb2.HealthCheckRequest()).status)


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.05)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB. Needs root."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        # Lazily: what the controller had mapped of its index goes with this process's next collection of garbage.
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def filled(place: Path) -> Iterator[None]:
    """To the last byte, until the block ends."""
    filler = place / "filler"
    with filler.open("wb") as file, pytest.raises(OSError):
        while True:
            file.write(bytes(MIB))
            file.flush()
    try:
        yield
    finally:
        filler.unlink()


def test_a_database_without_room(small: Path, tmp_path: Path) -> None:
    """Not ready, and it says why; nothing new starts; a backup that is handed in waits and is published once there is room."""
    config = configured(small / "state")
    operator = Operator(config.operator_toml)
    with running(config) as controller:
        controller.add_folder(tmp_path / "bucket")
        alpha = enrolled(controller, "alpha")
        alpha.inventory({"vda": SIZE})
        run = controller.start_backup("db-1")
        assignment = alpha.next_assignment()
        disk = ModelDisk(SIZE)
        disk.write(0, random.Random(1).randbytes(SIZE))
        grant = alpha.accept(assignment.attempt).backup
        request = alpha.hand_in(assignment.attempt, alpha.write(assignment.attempt, grant, {"vda": disk.source()}))
        beta = enrolled(controller, "beta")
        beta.inventory({"vda": SIZE}, vm_id=OTHER_VM, vm_name="web-1")
        assert health(controller) == SERVING

        with filled(small):
            wait_for(lambda: health(controller) == NOT_SERVING, "the health service to be red")
            said = operator("status")
            assert said.code == 0, "what can be read is answered"
            assert "Troubles of the controller" in said.out and "Free space" in said.out
            second = ordered(controller, "web-1")
            published = handed_in(alpha, request)
            time.sleep(1.0)  # several looks of the scheduler
            if second is not None:
                assert not controller.run(second).attempts, "nothing new starts"
            if not published:
                assert controller.run(run.run_id).state == resources_pb2.RUN_STATE_ACTIVE, "it waits"

        wait_for(lambda: health(controller) == SERVING, "the health service to be green again")
        assert "Troubles" not in operator("status").out
        alpha.stub.CompleteAttempt(request)
        done = controller.watch(run.run_id, lambda each: each.state == resources_pb2.RUN_STATE_SUCCEEDED)
        assert len(done.attempts) == 1, "the same attempt"
        later = second or controller.start_backup("web-1").run_id
        assert controller.watch(later, lambda each: bool(each.attempts))


def ordered(controller: Controller, vm: str) -> str | None:
    """The run; None: there was no room to write it down, and the operator was told."""
    try:
        return controller.start_backup(vm).run_id
    except grpc.RpcError as error:
        assert reason_of(error) == "DATABASE_FULL"
        return None


def handed_in(agent: ScriptedAgent, request: object) -> bool:
    try:
        agent.stub.CompleteAttempt(request)  # type: ignore[arg-type]
    except grpc.RpcError as error:
        assert reason_of(error) == "DATABASE_FULL"
        return False
    return True


def test_a_database_that_cannot_be_written(tmp_path: Path) -> None:
    """As on a file system that became read-only: it says what it is, and writes again once it can."""
    with closing(SqliteDatabase(tmp_path / "controller.sqlite")) as database:
        database.write_now(lambda transaction: transaction.repositories.add_repository(a_repository()))
        failures: list[str] = []
        database.on_failed_write = lambda error: failures.append(error.reason)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            with pytest.raises(Unavailable) as caught:
                database.write_now(lambda transaction: transaction.runs.add_run(a_run()))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert caught.value.reason == "DATABASE_UNWRITABLE" and "kernel's log" in str(caught.value)
        assert failures == ["DATABASE_UNWRITABLE"]
        assert database.read_now(lambda transaction: transaction.runs.runs()) == [], "nothing half-applied"
        database.write_now(lambda transaction: transaction.runs.add_run(a_run()))
        assert len(database.read_now(lambda transaction: transaction.runs.runs())) == 1


def test_an_event_loop_that_is_blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is answered meanwhile; afterwards it says so for a while, then is well again."""
    monkeypatch.setattr(loop_lag, "BLOCKED_SECONDS", 0.8)
    monkeypatch.setattr(loop_lag, "REMEMBERED_SECONDS", 2.0)
    config = configured(tmp_path / "state")
    operator = Operator(config.operator_toml)
    with running(config) as controller:
        assert health(controller) == SERVING
        controller.loop.call_soon_threadsafe(time.sleep, 2.5)
        wait_for(lambda: health(controller) == NOT_SERVING, "the health service to be red")
        said = operator("status")
        assert "did not answer anybody for" in said.out
        shown = controller.backups.GetStatus(operator_pb2.GetStatusRequest())
        assert shown.loop_lag_ms >= 1000
        wait_for(lambda: health(controller) == SERVING, "the health service to be green again")
        assert "Troubles" not in operator("status").out
        assert " s late in the last minute" in operator("status").out


def test_a_clock_that_jumps_is_shown(tmp_path: Path) -> None:
    config = configured(tmp_path / "state")
    operator = Operator(config.operator_toml)
    clock = ShiftedClock(0)
    with running(config, clock=clock) as controller:
        for seconds, words in ((7200, "ahead by 2:00:00"), (3600, "back by 1:00:00")):
            clock.seconds = seconds
            wait_for(lambda words=words: words in operator("status").out, "the jump to be shown")  # type: ignore[misc]
            assert health(controller) == SERVING, "leases follow the steady clock"
