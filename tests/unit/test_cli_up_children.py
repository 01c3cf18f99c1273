"""What `seawall up` keeps of its children: their logs, and who still runs."""

import fcntl
import os
import signal
import stat
from pathlib import Path

import pytest

from seawall.cli.exits import CommandError, Exit
from seawall.cli.output import Output
from seawall.cli.up.child import Child
from seawall.cli.up.child_log import ChildLog
from seawall.cli.up.life import live
from seawall.cli.up.locks import holder, is_held, only_one
from seawall.cli.up.places import Places
from seawall.cli.up.plan import Asked
from seawall.cli.up.settle import await_earlier_children
from seawall.cli.up.signals import StopAsked, watched
from seawall.repository.clock import SystemClock
from support.block_device import small_file_system
from support.libvirt_host import await_true


class _PatientClock:
    """Sleeping takes no time."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_us(self) -> int:
        return 0

    def monotonic_seconds(self) -> float:
        return self.seconds

    def sleep_seconds(self, seconds: float) -> None:
        self.seconds += seconds


def test_a_log_is_cut_and_the_child_writes_on(tmp_path: Path) -> None:
    log = ChildLog(tmp_path / "logs" / "agent.log", limit_bytes=100)
    with log.open() as child:
        child.write(b"a" * 60 + b"\n")
        log.bound()
        assert log.path.stat().st_size == 61
        child.write(b"b" * 60 + b"\n")
        log.bound()
        child.write(b"c\n")
    assert log.path.read_bytes() == b"c\n"
    assert log.path.with_suffix(".log.1").read_bytes().endswith(b"b\n")
    assert log.last_words() == "c"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("", ""),
        ('{"event": "a"}\nseawall: Cannot listen.\nSee ss.\n', "Cannot listen.\nSee ss."),
        ("seawall: Alone.\n", "Alone."),
        ('{"event": "a", "level": "info"}\n', ""),
        ('{"event": "b", "level": "error"}\n{"event": "a", "level": "info"}\n', '{"event": "b", "level": "error"}'),
        ("Traceback\n  line\nValueError: 1\n\n", "ValueError: 1"),
    ],
    ids=["nothing", "message", "alone", "good-news", "bad-news", "traceback"],
)
def test_last_words_are_of_this_life(written: str, words: str, tmp_path: Path) -> None:
    log = ChildLog(tmp_path / "agent.log")
    log.path.write_text("seawall: of the life before\n")
    with log.open() as child:
        child.write(written.encode())
    assert log.last_words() == words


def test_a_child_without_room_for_its_words_is_known_by_the_full_disk(tmp_path: Path) -> None:
    with small_file_system(tmp_path / "logs", 8192) as full:
        (full / "filler").write_bytes(bytes(8192))
        log = ChildLog(full / "agent.log")
        with log.open():
            pass
        assert log.last_words() == f"no space is left in {full}."


def test_a_child_that_gives_up_says_why_with_its_own_exit_code(tmp_path: Path) -> None:
    child = Child("agent", ("agent", "run", "--state-dir", str(tmp_path)), ChildLog(tmp_path / "agent.log"))
    child.start()
    await_true(lambda: not child.runs, "the child to give up")
    with pytest.raises(CommandError) as caught:
        child.need_running()
    assert (caught.value.code, caught.value.reason) == (Exit.REFUSED, "AGENT_ENDED")
    assert "ended with exit code 5: this host is not enrolled" in str(caught.value)
    child.reap()


def test_a_child_about_to_end_is_waited_for_and_no_longer_than_asked(tmp_path: Path) -> None:
    child = Child("agent", ("agent", "run", "--state-dir", str(tmp_path)), ChildLog(tmp_path / "agent.log"))
    child.start()
    assert not child.ends_within(0)
    assert child.ends_within(30)
    child.reap()


def test_a_lock_tells_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert is_held(path)
        assert holder(path) == os.getpid()
    assert not is_held(path)
    with only_one(path), pytest.raises(CommandError) as caught, only_one(path):
        pass
    assert caught.value.reason == "ALREADY_UP"


def test_whatever_the_umask_qemu_passes_and_nobody_else_can_lock(tmp_path: Path) -> None:
    places = Places(tmp_path / "state")

    def stop_at(step: str) -> None:
        raise StopAsked

    before = os.umask(0o077)
    try:
        with pytest.raises(CommandError, match="Stopped before"):
            live(places, Asked(), Output(as_json=True), SystemClock(), stop_at)
        assert stat.S_IMODE(places.state_dir.stat().st_mode) == 0o755
        assert stat.S_IMODE(places.lock.stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_a_controller_that_somebody_else_runs_is_refused_after_a_while(tmp_path: Path) -> None:
    places, said = Places(tmp_path), list[str]()
    places.controller.mkdir()
    with places.controller_lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(CommandError) as caught:
            await_earlier_children(places, _PatientClock(), said.append)
    assert caught.value.reason == "STILL_RUNNING"
    assert f"(process {os.getpid()})" in str(caught.value)
    assert len(said) == 1
    await_earlier_children(places, _PatientClock(), said.append)


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGINT)}
    try:
        with watched() as signals:
            signals.only_note()
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.count == 0
            os.kill(os.getpid(), signal.SIGINT)
            assert signals.count == 1
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_signals_interrupt_until_they_only_wake() -> None:
    with watched() as signals:
        with pytest.raises(StopAsked):
            os.kill(os.getpid(), signal.SIGTERM)
        signals.only_note()
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.count == 2
        assert os.read(signals.wake, 10) != b""
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_end_of_a_child_is_noticed_at_once(tmp_path: Path) -> None:
    child = Child("agent", ("--version",), ChildLog(tmp_path / "agent.log"))
    clock = SystemClock()
    with watched() as signals:
        child.start()
        assert child.wait_end(60, signals, clock, lambda: False)
    assert child.how_it_ended().startswith("ended with exit code 0: seawall ")
    child.reap()
