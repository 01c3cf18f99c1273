"""How a freeze ends: when told to, when its time is up, when the guest answers at last."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import cast

import pytest

from seawall.agent.capture.ending import set_mark
from seawall.agent.capture.freeze import GuestFreeze
from seawall.agent.capture.guard import freezing
from seawall.agent.capture.guard.freezing import Freezing
from seawall.agent.capture.guard.protocol import Report, error_of
from seawall.agent.errors import FreezeFailed
from seawall.agent.hypervisor.port import AGENT_DISCONNECTED, UNREACHABLE, Hypervisor
from seawall.repository.clock import SystemClock
from support.capture_guest import Guest
from support.libvirt_host import await_true

LONG = 60.0


class Freezer:
    """A Freezer over a Freezing of the same process."""

    def __init__(self, guest: Guest, mark: Path, limit_seconds: float = LONG, agent: Path | None = None) -> None:
        hypervisor = cast(Hypervisor, guest)
        self.freezing = Freezing(hypervisor, "vm", mark, limit_seconds, SystemClock(), agent)

    def freeze(self) -> None:
        self.freezing.freeze()
        await_true(lambda: not self.report().freezing, "the freeze is over", 5)
        failure = self.report().freeze_failure
        if failure is not None:
            raise error_of(failure)

    def thaw(self) -> bool:
        self.freezing.thaw()
        return self.report().overdue

    def report(self) -> Report:
        return self.freezing.report()

    def await_thawed(self) -> Report:
        await_true(lambda: not self.report().frozen, "the guest is thawed", 5)
        return self.report()


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    folder = tmp_path / "captures" / "a2"
    folder.mkdir(parents=True)
    return folder / "frozen"


def test_thaws_when_left(mark: Path) -> None:
    freezer = Freezer(guest := Guest(thaw_failures=2), mark)
    with pytest.raises(RuntimeError), GuestFreeze(freezer, "require", 60) as freeze:
        assert guest.frozen.is_set() and mark.read_text() == "vm" and not guest.thawed.is_set()
        raise RuntimeError("begin failed")
    report = freezer.await_thawed()
    assert guest.thawed.is_set() and freeze.frozen and not mark.exists()
    assert report.frozen_ms is not None and len(report.thaw_failures) == 2 and not report.overdue


def test_mark_stays_while_the_guest_does_not_answer(mark: Path) -> None:
    freezer = Freezer(guest := Guest(thaw_failures=10**6), mark)
    with GuestFreeze(freezer, "try", 60):
        pass
    await_true(lambda: len(freezer.report().thaw_failures) > 1, "it is tried again", 5)
    assert mark.exists() and freezer.report().frozen  # should this process die, the sweep goes on trying
    guest.thaw_failures = 0
    freezer.await_thawed()
    assert not mark.exists()


def test_a_guest_whose_freeze_was_given_up_is_thawed_as_soon_as_it_answers(mark: Path) -> None:
    freezer = Freezer(guest := Guest(freezes=False, thaw_failures=3), mark)
    with GuestFreeze(freezer, "try", 60) as freeze:
        pass
    assert not freeze.frozen and freeze.warning is not None and freeze.warning[0] == "NOT_FROZEN"
    freezer.await_thawed()
    assert guest.thawed.is_set() and not mark.exists()


def test_guest_without_an_agent_is_left_alone(mark: Path) -> None:
    freezer = Freezer(guest := Guest(freezes=False, hears=False), mark)
    with GuestFreeze(freezer, "try", 60) as freeze:
        pass
    freezer.await_thawed()
    assert not guest.thawed.is_set() and not mark.exists() and freeze.warning is not None


def test_a_freeze_that_cannot_be_noted_down_is_not_sent(tmp_path: Path) -> None:
    freezer = Freezer(guest := Guest(), tmp_path / "no such folder" / "frozen")
    with pytest.raises(FreezeFailed, match="noted"), GuestFreeze(freezer, "require", 60):
        pass
    assert not guest.frozen.is_set()


@pytest.mark.parametrize("policy", ["try", "require"])
def test_thaws_in_time_and_the_point_is_not_called_frozen(mark: Path, policy: str) -> None:
    freezer = Freezer(guest := Guest(), mark, 0.1)
    freeze = GuestFreeze(freezer, policy, 1)
    freeze.__enter__()
    assert guest.thawed.wait(5) and freezer.await_thawed().overdue
    if policy == "require":
        with pytest.raises(FreezeFailed, match="thawed before"):
            freeze.__exit__(None, None, None)
    else:
        freeze.__exit__(None, None, None)
        assert freeze.frozen is False and freeze.warning is not None


def test_a_thaw_wanted_during_the_freeze_follows_it(mark: Path) -> None:
    """The owner died while the guest was still freezing."""
    guest = Guest()
    guest.may_freeze.clear()
    freezer = Freezer(guest, mark)
    freezer.freezing.freeze()
    assert guest.asked.wait(5)
    freezer.freezing.thaw()
    guest.may_freeze.set()
    freezer.await_thawed()
    assert guest.thawed.is_set() and guest.frozen.is_set()


def test_freezes_again_after_a_thaw(mark: Path) -> None:
    freezer = Freezer(guest := Guest(), mark)
    for _ in range(2):
        with GuestFreeze(freezer, "require", 60) as freeze:
            assert mark.exists()
        freezer.await_thawed()
        assert freeze.frozen and not mark.exists()
    assert guest.thawed.is_set()


def test_policy_never_asks_nobody(mark: Path) -> None:
    with GuestFreeze(Freezer(guest := Guest(), mark), "never", 60) as freeze:
        pass
    assert not guest.frozen.is_set() and freeze.warning is None and not freeze.frozen


def test_policy_require_raises(mark: Path) -> None:
    with pytest.raises(FreezeFailed, match="no answer"):
        GuestFreeze(Freezer(Guest(freezes=False), mark), "require", 60).__enter__()


class AgentSocket:
    """A guest agent's channel: answers what it is asked; `serves` None: accepts nobody, as QEMU while libvirtd has the channel."""

    def __init__(self, path: Path, *, serves: bool) -> None:
        self.path, self.heard = path, b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        if serves:
            threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def hear_all(self) -> bytes:
        """What waits in the channel too, as QEMU hears it once libvirtd lets go."""
        self._listener.settimeout(0.2)
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client:
                    self.heard += client.recv(4096)
        return self.heard

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client, client.makefile("rb") as lines:
            for line in lines:
                self.heard += line
                if b"guest-sync-delimited" in line:
                    number = line.rpartition(b'"id": ')[2].partition(b"}")[0]
                    client.sendall(b'{"return": 5}\nold\xff{"return": ' + number + b"}\n")
                else:
                    client.sendall(b'{"return": 2}\n')


@pytest.fixture(params=[True, False], ids=["libvirtd is dead", "libvirtd hangs"])
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AgentSocket]:
    with closing(AgentSocket(tmp_path / "agent", serves=request.param)) as agent:
        yield agent


def test_without_libvirt_the_guests_agent_is_asked_directly(
    mark: Path, agent: AgentSocket, request: pytest.FixtureRequest
) -> None:
    free = request.node.callspec.params["agent"]
    guest = Guest(thaw_failures=10**6 if free else 1, reason=UNREACHABLE)
    freezer = Freezer(guest, mark, agent=agent.path)
    with GuestFreeze(freezer, "require", 60):
        pass
    freezer.await_thawed()
    assert not mark.exists()
    assert (b"guest-fsfreeze-thaw" in agent.hear_all()) is free
    assert b"guest-sync" in agent.heard
    assert guest.thawed.is_set() is not free


def test_while_libvirt_answers_nobody_else_talks_to_the_agent(mark: Path, tmp_path: Path) -> None:
    with closing(AgentSocket(tmp_path / "agent", serves=True)) as agent:
        freezer = Freezer(Guest(thaw_failures=2), mark, agent=agent.path)
        with GuestFreeze(freezer, "require", 60):
            pass
        freezer.await_thawed()
        assert agent.heard == b""


def test_nothing_is_asked_of_a_guest_that_does_not_answer(mark: Path) -> None:
    """So nothing can freeze it later, either."""
    with GuestFreeze(Freezer(guest := Guest(hears=False), mark), "try", 60) as freeze:
        pass
    assert guest.woken.is_set() and not guest.asked.is_set() and not freeze.frozen and freeze.warning is not None


def test_time_counts_from_when_the_guest_is_asked_to_freeze(mark: Path) -> None:
    """Waking its agent is no part of it: it works on meanwhile."""
    guest, woken = Guest(), threading.Event()
    wake = guest.wake_agent

    def slowly(vm_id: str, timeout_seconds: int) -> bool:
        woken.wait(0.5)
        return wake(vm_id, timeout_seconds)

    guest.wake_agent = slowly  # type: ignore[method-assign]
    freezer = Freezer(guest, mark)
    with GuestFreeze(freezer, "require", 60):
        pass
    report = freezer.await_thawed()
    assert report.frozen_ms is not None and report.frozen_ms < 400


def test_an_owner_that_dies_while_the_agent_is_woken_freezes_nobody(mark: Path) -> None:
    guest, woken = Guest(), threading.Event()
    guest.wake_agent = lambda vm_id, timeout_seconds: woken.wait(20)  # type: ignore[method-assign]
    freezer = Freezer(guest, mark)
    freezer.freezing.freeze()
    freezer.freezing.thaw()
    woken.set()
    freezer.await_thawed()
    assert not guest.asked.is_set() and not mark.exists()


@pytest.mark.parametrize(("has_keys", "failures", "pressed"), [(True, 1, 0), (True, 3, 2), (True, 6, 3), (False, 6, 0)])
def test_the_kernel_is_asked_by_its_keyboard_when_the_agent_does_not_thaw(
    mark: Path, monkeypatch: pytest.MonkeyPatch, has_keys: bool, failures: int, pressed: int
) -> None:
    monkeypatch.setattr(freezing, "AGAIN_SECONDS", 0.01)
    guest = Guest(thaw_failures=failures)
    guest.has_keys = has_keys
    freezer = Freezer(guest, mark)
    with GuestFreeze(freezer, "require", 60):
        pass
    await_true(lambda: not freezer.report().frozen, "the guest is thawed", 20)
    assert guest.keys_pressed == pressed


def test_the_keyboard_is_not_used_more_often_when_the_first_refusal_comes_late(
    mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freezing, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(freezing, "AGENT_SECONDS", 0.0)
    freezer = Freezer(guest := Guest(thaw_failures=6), mark)
    with GuestFreeze(freezer, "require", 60):
        pass
    await_true(lambda: not freezer.report().frozen, "the guest is thawed", 20)
    assert guest.keys_pressed == freezing.MOST_KEYS


def test_nobody_freezes_a_guest_that_an_earlier_attempt_still_thaws(mark: Path) -> None:
    """That thaw would come in the midst of this freeze, and the point be called frozen all the same."""
    earlier, other = mark.parent.parent / "a1", mark.parent.parent / "a0"
    for folder, vm_id in ((earlier, "vm"), (other, "another")):
        folder.mkdir()
        set_mark(folder / "frozen", vm_id)
    freezer = Freezer(guest := Guest(), mark)
    with pytest.raises(FreezeFailed, match="earlier attempt"):
        freezer.freeze()
    assert not guest.asked.is_set() and not mark.exists() and (earlier / "frozen").exists()
    (earlier / "frozen").unlink()
    with GuestFreeze(freezer, "require", 60) as freeze:
        assert guest.frozen.is_set()
    assert freeze.frozen
    freezer.await_thawed()


def test_the_job_must_end_when_the_agent_is_gone_and_time_is_up(mark: Path) -> None:
    """While it runs libvirt does not see that an agent came back."""
    guest = Guest(thaw_failures=10**6, reason=AGENT_DISCONNECTED)
    freezer = Freezer(guest, mark, limit_seconds=0.3)
    with GuestFreeze(freezer, "try", 60):
        assert freezer.freezing.stuck() is None
    await_true(lambda: freezer.freezing.stuck() is not None, "it is said", 10)
    guest.thaw_failures = 0
    freezer.await_thawed()
    assert freezer.freezing.stuck() is None


def test_an_agent_that_is_busy_with_a_hook_is_no_reason_to_end_the_job(mark: Path) -> None:
    freezer = Freezer(guest := Guest(freezes=False, thaw_failures=3), mark, limit_seconds=0.1)
    with GuestFreeze(freezer, "try", 60):
        pass
    await_true(lambda: guest.thaw_failures < 2, "it was asked again", 10)
    assert freezer.freezing.stuck() is None
    freezer.await_thawed()
