"""WatchRuns over all runs: a snapshot, changes, tokens to go on with, and the band of what is left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from seawall.api.v1 import operator_pb2, resources_pb2
from support.controller_agent import ScriptedAgent, enrolled
from support.controller_application import Controller, configured, reason_of, running
from support.memory_disks import ModelDisk

SIZE = 3 * 1024 * 1024
Answers = Iterator[operator_pb2.WatchRunsResponse]


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with running(configured(tmp_path / "state")) as started:
        started.add_folder(tmp_path / "bucket")
        yield started


@pytest.fixture
def agent(controller: Controller) -> ScriptedAgent:
    agent = enrolled(controller, "alpha")
    agent.inventory({"vda": SIZE})
    return agent


@contextmanager
def watching(controller: Controller, token: str = "", vm: str = "") -> Iterator[Answers]:
    request = operator_pb2.WatchRunsRequest(all=True, resume_token=token, vm=vm)
    stream = controller.backups.WatchRuns(request, timeout=60)
    try:
        yield iter(stream)
    finally:
        stream.cancel()  # type: ignore[no-untyped-call]


def until(answers: Answers, fits: Callable[[operator_pb2.WatchRunsResponse], bool]) -> operator_pb2.WatchRunsResponse:
    return next(answer for answer in answers if fits(answer))


def to_token(answers: Answers) -> tuple[list[operator_pb2.WatchRunsResponse], str]:
    """What comes until the next token, and that."""
    told: list[operator_pb2.WatchRunsResponse] = []
    for answer in answers:
        if answer.resume_token:
            return told, answer.resume_token
        told.append(answer)
    raise AssertionError("the stream ended")


def in_state(state: "resources_pb2.RunState.ValueType") -> Callable[[operator_pb2.WatchRunsResponse], bool]:
    return lambda answer: answer.run.state == state


def test_a_run_is_followed_from_its_beginning_to_its_end(controller: Controller, agent: ScriptedAgent) -> None:
    with watching(controller) as answers:
        told, before = to_token(answers)
        assert [answer.snapshot for answer in told] == [True], "nothing is open"
        run_id = controller.start_backup("db-1").run_id
        assert until(answers, lambda answer: bool(answer.run.run_id)).run.run_id == run_id
        agent.backup({"vda": ModelDisk(SIZE).source()})
        until(answers, in_state(resources_pb2.RUN_STATE_SUCCEEDED))
    with watching(controller, before) as answers:
        told, after = to_token(answers)
        assert [(answer.run.run_id, answer.snapshot) for answer in told] == [(run_id, False)], "once, as it is now"
    with watching(controller, after) as answers:
        assert to_token(answers)[0] == []


def test_a_snapshot_tells_what_is_open_and_nothing_else(controller: Controller, agent: ScriptedAgent) -> None:
    controller.start_backup("db-1")
    agent.backup({"vda": ModelDisk(SIZE).source()})
    waiting = controller.start_backup("db-1").run_id
    for vm in ("", "db-1"):
        with watching(controller, "0123456789abcdef.7", vm) as answers:
            told, _ = to_token(answers)
            assert [(answer.snapshot, answer.run.run_id) for answer in told] == [(True, ""), (False, waiting)]


def test_what_is_left_comes_with_a_band(controller: Controller, agent: ScriptedAgent) -> None:
    controller.start_backup("db-1")
    attempt = agent.next_assignment().attempt
    agent.accept(attempt)
    disk = resources_pb2.DiskProgress(disk="vda", size_bytes=SIZE, planned_bytes=SIZE, read_bytes=SIZE // 2)
    with watching(controller) as answers:
        agent.beat(
            resources_pb2.AttemptProgress(
                attempt_id=attempt.attempt_id,
                seq=1,
                state=resources_pb2.ATTEMPT_STATE_TRANSFERRING,
                disks=[disk],
                rate_bytes_per_second=SIZE // 40,
                eta_seconds=20,
            )
        )
        run = until(answers, lambda answer: any(each.progress.eta_seconds for each in answer.run.attempts)).run
    progress = run.attempts[-1].progress
    assert (progress.eta_low_seconds, progress.eta_seconds, progress.eta_high_seconds) == (10, 20, 40)


@pytest.mark.parametrize("token", ["x", "abc.", "abc.-1", "abc.1e3", "a." + "9" * 80, "abc.²"])
def test_what_is_no_token_is_refused(controller: Controller, token: str) -> None:
    with watching(controller, token) as answers, pytest.raises(grpc.RpcError) as caught:
        next(answers)
    assert reason_of(caught.value) == "BAD_RESUME_TOKEN"


def test_an_unknown_vm_is_refused(controller: Controller) -> None:
    with watching(controller, vm="nobody") as answers, pytest.raises(grpc.RpcError) as caught:
        next(answers)
    assert reason_of(caught.value) == "VM_UNKNOWN"
