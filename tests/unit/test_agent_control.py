"""Small parts of the agent's control: the pipe, retries, failures, the stop flag, identity files, logs, the meter."""

import hashlib
import io
import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from deploy.free_ports import free_ports

from seawall.agent.config import AgentConfig
from seawall.agent.control.client import ControllerClient
from seawall.agent.control.coordinator import AgentCoordinator
from seawall.agent.control.errors import ControllerRefused, ControllerSilent, NotEnrolled, SessionUnknown
from seawall.agent.control.identity import load_identity, save_identity
from seawall.agent.control.messages import (
    TRANSFERRING,
    Assignment,
    AttemptRef,
    BackupGrant,
    DiskProgress,
    PointGrant,
    Progress,
    PutTarget,
    SealedTargets,
)
from seawall.agent.control.retry import Retry
from seawall.agent.errors import AgentError, Canceled, ControllerUnreachable, FailureKind, Fenced, VmBusy
from seawall.agent.supervisor.attempt_log import AttemptLog, prune_logs
from seawall.agent.supervisor.link import Link
from seawall.agent.supervisor.renewal import Renewal, renewal_due_us
from seawall.agent.supervisor.state import SupervisorState
from seawall.agent.supervisor.timing import Backoff, Timing
from seawall.agent.worker.failure import failure_of
from seawall.agent.worker.meter import Meter
from seawall.agent.worker.pipe import (
    End,
    Ended,
    Event,
    Job,
    NewSession,
    Order,
    Step,
    Stop,
    StopReason,
    event_line,
    job_line,
    order_line,
    parse_event,
    parse_job,
    parse_order,
)
from seawall.agent.worker.reporter import Reporter
from seawall.agent.worker.stop import AgentStopping, StopFlag, StoppableClock
from seawall.repository.clock import SystemClock
from seawall.repository.errors import IntegrityError, StoreRefused, StoreUnavailable
from seawall.repository.format.pack import TABLE_ENTRY, SealedPack
from seawall.repository.store.port import SignedPut, StoredAs
from seawall.repository.store.retry import RetryingTransfer, RetryPolicy
from support.agent_certificates import Authority


class StepClock:
    """Moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def now_us(self) -> int:
        return int(self.now * 1_000_000)

    def monotonic_seconds(self) -> float:
        return self.now

    def sleep_seconds(self, seconds: float) -> None:
        self.now += seconds


class AwayStore:
    """A SignedTransfer to a store that nobody reaches."""

    def put(self, target: SignedPut, body: bytes | memoryview) -> StoredAs:
        raise StoreUnavailable("away")

    def get(self, url: str) -> bytes:
        raise StoreUnavailable("away")

    def get_range(self, url: str, offset: int, length: int) -> bytes:
        raise StoreUnavailable("away")

    def get_suffix(self, url: str, length: int) -> bytes:
        raise StoreUnavailable("away")


class RefusingStore(AwayStore):
    """Refuses the first signatures."""

    def __init__(self, refusals: int) -> None:
        self._refusals = refusals
        self.urls: list[str] = []

    def put(self, target: SignedPut, body: bytes | memoryview) -> StoredAs:
        self.urls.append(target.url)
        if len(self.urls) <= self._refusals:
            raise StoreRefused("not yet valid")
        return StoredAs.NEW


@pytest.mark.parametrize(
    "event",
    [
        Progress(
            "a",
            3,
            TRANSFERRING,
            "reading",
            (DiskProgress("vda", 5, 4, 3, 2, 1, "full", "why", True),),
            "S3",
            "cpu",
            9,
            8,
        ),
        Step.COMMITTING,
        Step.FINISHING,
        Ended(End.UNREPORTED),
    ],
)
def test_events_survive_the_pipe(event: Event) -> None:
    assert parse_event(event_line(event)) == event


@pytest.mark.parametrize("order", [NewSession("s"), Stop(StopReason.CANCELED), Stop(StopReason.AGENT)])
def test_orders_survive_the_pipe(order: Order) -> None:
    assert parse_order(order_line(order)) == order


def test_a_job_survives_the_pipe() -> None:
    assignment = Assignment(AttemptRef("a", 1, 2), "backup", "run", "vm", "name\nwith line", False)
    job = Job(AgentConfig(controllers=("c:1",)), "agent", "session", 1, assignment)
    assert job_line(job).count(b"\n") == 1
    assert parse_job(job_line(job)) == job


def test_a_job_of_a_supervisor_that_is_older_than_its_worker_is_understood() -> None:
    """Its package was upgraded, and it was not started again yet."""
    assignment = Assignment(AttemptRef("a", 1, 2), "backup", "run", "vm", "name", False)
    job = Job(AgentConfig(), "agent", "session", 1, assignment)
    value = json.loads(job_line(job))
    del value["job"]["bytes_per_second"]
    for key in ("bytes_per_second", "iops"):
        del value["job"]["config"][key]
    assert parse_job(json.dumps(value).encode()) == job


def test_silence_is_retried_until_the_window_that_began_with_the_first_failure_ends() -> None:
    clock = StepClock()
    answers: list[str | Exception] = [ControllerSilent("a"), ControllerSilent("b"), "done"]

    def call() -> str:
        clock.now += 500  # a slow call uses nothing of the window
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert Retry(clock, clock.sleep_seconds, window_seconds=900)(call) == "done"


def test_the_window_ends_in_unreachable() -> None:
    clock = StepClock()

    def call() -> None:
        raise ControllerSilent("nobody")

    with pytest.raises(ControllerUnreachable, match="nobody"):
        Retry(clock, clock.sleep_seconds, window_seconds=30)(call)
    assert 1_030 <= clock.now <= 1_045


@pytest.mark.parametrize("error", [Fenced("over"), ControllerRefused("no"), Canceled("stop")])
def test_an_answer_is_not_retried(error: Exception) -> None:
    clock = StepClock()

    def call() -> None:
        raise error

    with pytest.raises(type(error)):
        Retry(clock, clock.sleep_seconds)(call)
    assert clock.now == 1_000


def test_a_stop_ends_the_retrying() -> None:
    stop = StopFlag()

    def call() -> None:
        stop.request(StopReason.CANCELED)
        raise ControllerSilent("nobody")

    with pytest.raises(Canceled):
        Retry(StepClock(), stop.pause)(call)


def test_a_stop_ends_the_wait_for_a_store_that_is_away() -> None:
    stop, clock = StopFlag(), SystemClock()
    transfer = RetryingTransfer(AwayStore(), StoppableClock(clock, stop), RetryPolicy(60.0, 60.0, 3_600.0))
    threading.Timer(0.05, stop.request, [StopReason.CANCELED]).start()
    start = clock.monotonic_seconds()
    with pytest.raises(Canceled):
        for _ in range(100):  # a random pause may be short, not a hundred of them
            transfer.get("https://store/x")
    assert clock.monotonic_seconds() - start < 5


@pytest.mark.parametrize(("refusals", "stored"), [(0, True), (1, True), (2, False)])
def test_a_put_that_should_hold_is_signed_once_more(refusals: int, stored: bool) -> None:
    """The clock of this host may lag behind the store's."""
    store = RefusingStore(refusals)
    coordinator = AgentCoordinator(cast(ControllerClient, None), store, StepClock())
    signed = iter(range(10))

    def sign() -> PutTarget:
        return PutTarget(f"https://store/{next(signed)}", {}, 10_000_000_000_000)

    if stored:
        coordinator.put_signed(sign, b"body")
        assert store.urls[-1] == f"https://store/{refusals}"
    else:
        with pytest.raises(StoreRefused):
            coordinator.put_signed(sign, b"body")
        assert len(store.urls) == 2


class SigningClient:
    """Notes the MD5 of each signature."""

    def __init__(self) -> None:
        self.md5s: list[bytes] = []
        self.stored: list[bytes] = []

    def seal_pack(self, pack_id: bytes, length_bytes: int, md5: bytes, *, meta: bool) -> SealedTargets:
        self.md5s.append(md5)
        return SealedTargets((PutTarget("https://store/p", {}, 10_000_000_000_000),))

    def pack_stored(self, pack_id: bytes) -> None:
        self.stored.append(pack_id)


@pytest.mark.parametrize(
    ("spared", "refusals", "sent"),
    [(False, 0, [True]), (True, 0, [False]), (True, 1, [False, True]), (False, 1, [True, True])],
)
def test_a_pack_goes_without_its_md5_where_it_may_and_with_it_once_it_was_refused(
    spared: bool, refusals: int, sent: list[bool]
) -> None:
    client = SigningClient()
    coordinator = AgentCoordinator(cast(ControllerClient, client), RefusingStore(refusals), StepClock())
    coordinator.spare_md5(spared)
    coordinator.store_pack(SealedPack(b"i" * 16, b"body", np.empty(0, dtype=TABLE_ENTRY), False))
    assert client.md5s == [hashlib.md5(b"body").digest() if with_md5 else b"" for with_md5 in sent]
    assert client.stored == [b"i" * 16]


class StricterClient(SigningClient):
    """Of a controller that learnt since the grant that its store wants an MD5."""

    def seal_pack(self, pack_id: bytes, length_bytes: int, md5: bytes, *, meta: bool) -> SealedTargets:
        targets = super().seal_pack(pack_id, length_bytes, md5, meta=meta)
        if not md5:
            raise ControllerRefused("A pack for this repository needs its MD5.", reason="BAD_PACK")
        return targets


def test_a_store_that_was_probed_anew_costs_no_backup_its_packs() -> None:
    client = StricterClient()
    coordinator = AgentCoordinator(cast(ControllerClient, client), RefusingStore(0), StepClock())
    coordinator.spare_md5(True)
    for name in (b"i" * 16, b"j" * 16):
        coordinator.store_pack(SealedPack(name, b"body", np.empty(0, dtype=TABLE_ENTRY), False))
    assert client.md5s == [b"", hashlib.md5(b"body").digest(), hashlib.md5(b"body").digest()]
    assert client.stored == [b"i" * 16, b"j" * 16]


def test_the_first_reason_to_stop_wins() -> None:
    stop = StopFlag()
    stop.check()
    stop.request(StopReason.AGENT)
    stop.request(StopReason.CANCELED)
    with pytest.raises(AgentStopping):
        stop.check()


def test_errors_become_what_the_operator_reads() -> None:
    assert failure_of(VmBusy("held")).kind is FailureKind.CONFLICT
    assert failure_of(StoreUnavailable("down")).reason == "STORE_UNAVAILABLE"
    assert failure_of(IntegrityError("bad")).kind is FailureKind.PERMANENT
    unforeseen = failure_of(KeyError("k_dedup=secret"))
    assert unforeseen.reason == "INTERNAL_ERROR" and "secret" not in unforeseen.message


def test_grants_do_not_print_their_keys() -> None:
    key = b"\x01\x02secret"
    point = PointGrant("p", "https://store/x?signature=abc", key, b"h")
    grant = BackupGrant("r", "v", "t", "repo", b"l", 1, key, key, b"pub", 1, 1, 1, "try", point, ())
    assert "secret" not in repr(grant) and "signature" not in repr(grant)


def test_an_identity_is_private_whole_and_does_not_print_its_key(tmp_path: Path) -> None:
    identity = Authority().identity("controller:1")
    save_identity(tmp_path / "state", identity)
    assert load_identity(tmp_path / "state") == identity
    assert (tmp_path / "state" / "identity.json").stat().st_mode & 0o777 == 0o600
    assert "PRIVATE KEY" not in repr(identity)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["identity.json"]


def test_no_identity_or_half_of_one_is_not_enrolled(tmp_path: Path) -> None:
    with pytest.raises(NotEnrolled):
        load_identity(tmp_path)
    (tmp_path / "identity.json").write_text(json.dumps({"agent_id": "a"}))
    with pytest.raises(NotEnrolled, match="cannot be read"):
        load_identity(tmp_path)


def test_renewal_is_due_at_half_of_the_life_give_or_take_a_tenth() -> None:
    identity = Authority().identity("controller:1")
    start, end = (moment.timestamp() * 1e6 for moment in identity.lifetime())
    assert renewal_due_us(identity, 0.0) == pytest.approx((start + end) / 2, abs=2e6)
    assert renewal_due_us(identity, 1.0) - renewal_due_us(identity, -1.0) == pytest.approx((end - start) / 5, abs=2e6)


@pytest.mark.parametrize(("age", "raised"), [(6, ControllerSilent), (8, SessionUnknown)])
async def test_a_certificate_that_ended_in_a_long_silence_ends_the_session(
    tmp_path: Path, age: int, raised: type[AgentError]
) -> None:
    """What a session's loops cannot mend a new one does: it begins with the recovery."""
    address = f"127.0.0.1:{free_ports(1)}"
    identity = Authority().identity(address, age=timedelta(days=age), life=timedelta(days=7))
    link = Link(identity, (), Timing(call=5.0))
    config = AgentConfig(state_dir=tmp_path, run_dir=tmp_path, scratch_dir=tmp_path)
    renewal = Renewal(link, SupervisorState(identity), config, Timing(), SystemClock())
    try:
        with pytest.raises(raised):
            await renewal.step()
    finally:
        await link.close()


def test_the_end_of_a_long_log_is_kept_within_the_bound(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path, "a", limit_bytes=2_000)
    for number in range(500):
        log.write(f"line {number}\n".encode())
    log.close()
    assert log.last_line() == "line 499"
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2_000
    for number in range(5):
        AttemptLog(tmp_path, f"b{number}").close()
    prune_logs(tmp_path, keep=3)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_log_that_cannot_be_written_still_knows_the_last_words(tmp_path: Path) -> None:
    (tmp_path / "a.log").symlink_to("/dev/full")
    for log in (AttemptLog(tmp_path, "a"), AttemptLog(tmp_path / "a.log" / "no folder", "b")):
        log.write(b"one\n")
        log.write(b"two\n")
        assert log.last_line() == "two"
        log.close()


def test_backoff_stays_between_its_bounds_and_grows() -> None:
    backoff = Backoff(0.5, 5.0)
    waits = [backoff.next_seconds() for _ in range(50)]
    assert all(0.25 <= wait <= 5.0 for wait in waits) and max(waits) > 1.0
    backoff.reset()
    assert backoff.next_seconds() <= 0.5


def test_the_bottleneck_is_what_was_waited_for_most_often_lately() -> None:
    reporter, waits = Reporter("a", io.BytesIO(), StepClock()), iter(["source", *["store"] * 3, "cpu", *["cpu"] * 50])
    assert reporter.now().bottleneck == ""
    reporter.watch((), lambda: next(waits))
    assert [reporter.now().bottleneck for _ in range(4)] == ["source", "source", "store", "store"]
    for _ in range(20):
        last = reporter.now().bottleneck
    assert last == "cpu"


def test_the_meter_settles_on_a_steady_rate() -> None:
    meter = Meter()
    assert meter.eta_seconds(100) == 0
    for second in range(60):
        meter.feed(second * 1_000, float(second))
    assert meter.rate == pytest.approx(1_000)
    assert meter.eta_seconds(5_000) == 6 and meter.eta_seconds(0) == 0
