"""Records of the controller, as short as tests like them."""

from dataclasses import replace

from seawall.controller.records.catalogue import (
    Capabilities,
    Intent,
    Pack,
    PackState,
    Point,
    PointDisk,
    PointState,
    RepositoryRecord,
)
from seawall.controller.records.fleet import Host, Session, Vm, VmDisk
from seawall.controller.records.runs import (
    Attempt,
    AttemptState,
    BackupSpec,
    DiskProgress,
    Failure,
    FailureKind,
    FreezePolicy,
    ReadMethod,
    RestoreSpec,
    Run,
    RunKind,
    RunState,
    RunWarning,
)
from seawall.controller.runs.machine import Execution

NOW = 1_800_000_000_000_000
SECOND = 1_000_000
HOUR = 3600 * SECOND


def a_run(number: int = 1, **fields: object) -> Run:
    run = Run(
        id=f"00000000-0000-7000-8000-{number:012d}",
        kind=RunKind.BACKUP,
        vm_id="vm-1",
        vm_name="db",
        tenant="default",
        repository_id="repository",
        point_id=f"00000000-0000-7000-8000-{number:012d}",
        backup=BackupSpec(FreezePolicy.TRY, ("vdb",)),
        restore=None,
        state=RunState.READY,
        created_us=NOW,
        not_before_us=NOW,
        deadline_us=NOW + 24 * HOUR,
    )
    return replace(run, **fields)  # type: ignore[arg-type]


def a_restore(number: int = 1, host_id: str = "alpha", **fields: object) -> Run:
    spec = RestoreSpec("point", host_id, "", False, False, "", ())
    run = replace(a_run(number), kind=RunKind.RESTORE, backup=None, restore=spec, point_id="point")
    return replace(run, **fields)  # type: ignore[arg-type]


def an_execution(state: AttemptState = AttemptState.ASSIGNED, **fields: object) -> Execution:
    """The current attempt of an ACTIVE run."""
    attempt = Attempt(
        id="00000000-0000-7000-8000-0000000000a1",
        run_id=a_run().id,
        no=1,
        host_id="alpha",
        db_epoch=1,
        state=state,
        created_us=NOW,
        phase_deadline_us=NOW + 60 * SECOND,
        session_id="" if state is AttemptState.ASSIGNED else "session",
    )
    run = a_run(state=RunState.ACTIVE, current_attempt=attempt.id, attempt_count=1)
    return Execution(replace(run, **fields), attempt)  # type: ignore[arg-type]


def a_failure(kind: FailureKind = FailureKind.TRANSIENT, reason: str = "STORE_UNAVAILABLE") -> Failure:
    return Failure(reason, "it broke", "look", kind)


def a_host(name: str = "alpha", **fields: object) -> Host:
    return replace(Host(name, name, "1", "QEMU", 1, 0, False), **fields)  # type: ignore[arg-type]


def a_session(agent_id: str = "alpha", lease_until_us: int = NOW + HOUR, session_id: str = "session") -> Session:
    return Session(agent_id, session_id, "boot", lease_until_us, NOW)


def a_vm(vm_id: str = "vm-1", host_id: str = "alpha", **fields: object) -> Vm:
    disks = (VmDisk("vda", 1 << 30, "qcow2", "/vda.qcow2", False, "disk"),)
    return replace(Vm(vm_id, "db", host_id, "running", disks, NOW, True), **fields)  # type: ignore[arg-type]


def a_repository(name: str = "main", repository_id: str = "repository") -> RepositoryRecord:
    capabilities = Capabilities(True, True, True, False, ("one",))
    return RepositoryRecord(repository_id, name, "file:///b", "ab" * 16, "cd" * 32, 65536, (), capabilities, "", NOW)


def a_point(run: Run, attempt_id: str, **fields: object) -> Point:
    disk = PointDisk("vda", 1 << 30, "qcow2", 1000, 900, 800, ReadMethod.BITMAP, "", 12)
    point = Point(
        id=run.id,
        vm_id=run.vm_id,
        vm_name=run.vm_name,
        tenant=run.tenant,
        repository_id=run.repository_id,
        attempt_id=attempt_id,
        host_id="alpha",
        parent_point_id="",
        state=PointState.PUBLISHING,
        db_epoch=1,
        instant_us=NOW,
        guest_frozen=True,
        disks=(disk,),
        warnings=(RunWarning("W", "w"),),
        manifest_hash=b"m" * 32,
        created_us=NOW,
        intent=Intent(b"manifest", b"refmap"),
    )
    return replace(point, **fields)  # type: ignore[arg-type]


def a_pack(number: int = 1, host_id: str = "alpha", **fields: object) -> Pack:
    attempt_id = an_execution().attempt.id
    pack = Pack(bytes([number]) * 16, "repository", "default", host_id, attempt_id, PackState.OPEN, False, 1000)
    return replace(pack, **fields)  # type: ignore[arg-type]


def a_disk_progress(read_bytes: int) -> DiskProgress:
    return DiskProgress("vda", 1 << 30, 1 << 30, read_bytes, 0, 0, ReadMethod.FULL, "", False)
