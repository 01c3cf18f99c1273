"""Calls that hang, and calls that fail."""

import threading

import pytest

from seawall.agent.errors import HypervisorError, VmBusy
from seawall.agent.hypervisor.deadline import DeadlineRunner


def test_value_and_error_pass_through() -> None:
    runner = DeadlineRunner()
    assert runner.run("ask", lambda: 7, 5) == 7
    assert runner.run("ask", lambda: None, 5) is None

    def fail() -> None:
        raise VmBusy("taken")

    with pytest.raises(VmBusy, match="taken"):
        runner.run("ask", fail, 5)


def test_hung_calls_are_given_up_and_others_go_on() -> None:
    release = threading.Event()
    runner = DeadlineRunner(max_hung_calls=2)
    with pytest.raises(HypervisorError) as caught:
        runner.run("hang", lambda: release.wait(30), 0.05)
    assert caught.value.reason == "HYPERVISOR_TIMEOUT"
    assert runner.run("ask", lambda: 1, 5) == 1
    with pytest.raises(HypervisorError):
        runner.run("hang", lambda: release.wait(30), 0.05)
    with pytest.raises(HypervisorError):  # both places are taken
        runner.run("ask", lambda: 1, 0.05)
    release.set()
    assert runner.run("ask", lambda: 2, 5) == 2
