"""Runs that are followed out of the stream of all: when they are over, and which must be asked for by name."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli import watch
from seawall.cli.exits import CommandError, Exit
from seawall.cli.output import Output
from seawall.cli.watch_many import Followed, follow_any

READY, ACTIVE = resources_pb2.RUN_STATE_READY, resources_pb2.RUN_STATE_ACTIVE
SUCCEEDED, FAILED = resources_pb2.RUN_STATE_SUCCEEDED, resources_pb2.RUN_STATE_FAILED


SNAPSHOT = operator_pb2.WatchRunsResponse(snapshot=True)


def token(text: str) -> operator_pb2.WatchRunsResponse:
    return operator_pb2.WatchRunsResponse(resume_token=text)


def told(run_id: str, state: "resources_pb2.RunState.ValueType") -> operator_pb2.WatchRunsResponse:
    return operator_pb2.WatchRunsResponse(run=resources_pb2.Run(run_id=run_id, state=state))


def test_runs_that_a_snapshot_does_not_name_are_asked_for() -> None:
    """They ended before it: the stream tells of them no more, and who waited for it would wait for ever."""
    followed = Followed(["a", "b", "c"])
    for answer in (SNAPSHOT, told("a", ACTIVE), told("somebody else's", ACTIVE)):
        followed.take(answer)
        assert not followed.missed, "the rest of the snapshot may name them"
    followed.take(token("t.1"))
    assert set(followed.missed) == {"b", "c"}
    followed.told(resources_pb2.Run(run_id="b", state=SUCCEEDED))
    followed.take(token("t.2"))
    assert set(followed.missed) == {"c"}, "until it is told of, whatever else the stream tells"
    followed.told(resources_pb2.Run(run_id="c", state=SUCCEEDED))
    assert not followed.missed
    assert followed.line() == "of 3 runs 2 are over, 1 under way, 0 waiting"
    before = followed.all_over
    followed.take(told("a", FAILED))
    assert (before, followed.all_over) == (False, True)
    assert followed.line() == "of 3 runs 3 are over (1 failed), 0 under way, 0 waiting"
    assert [run.run_id for run in followed.runs.values() if run] == ["a", "b", "c"], "in the order given"


def test_after_another_snapshot_only_what_is_open_is_asked_for() -> None:
    """The controller was replaced: its successor knows no token of before."""
    followed = Followed(["a", "b"])
    for answer in (SNAPSHOT, told("a", ACTIVE), told("b", READY), token("t.1")):
        followed.take(answer)
    assert not followed.missed
    for answer in (told("a", SUCCEEDED), token("t.2")):
        followed.take(answer)
    assert not followed.missed, "no snapshot, nothing missed"
    for answer in (SNAPSHOT, token("u.1")):
        followed.take(answer)
    assert set(followed.missed) == {"b"}


class GoesAway:
    """A controller whose runs are all over. It goes away each time it was asked for runs by name and told of `bears` of them."""

    def __init__(self, bears: list[int]) -> None:
        self.backup = SimpleNamespace(WatchRuns=None)
        self.bears = bears
        self.tokens: list[str] = []

    def stream(
        self, method: object, request: operator_pb2.WatchRunsRequest
    ) -> Iterator[operator_pb2.WatchRunsResponse]:
        if request.all:
            yield from self._all(request.resume_token)
            return
        told_of = self.bears.pop(0) if self.bears else len(request.runs)
        for run_id in request.runs[:told_of]:
            yield told(run_id, SUCCEEDED)
        if told_of < len(request.runs):
            raise CommandError(Exit.UNREACHABLE, "UNAVAILABLE", "gone")

    def _all(self, resume_token: str) -> Iterator[operator_pb2.WatchRunsResponse]:
        self.tokens.append(resume_token)
        assert not resume_token, "nothing happens any more: whoever listens now waits for ever"
        yield from (SNAPSHOT, token("t.1"))


@pytest.mark.parametrize("bears", [[0], [700, 0, 0]])
def test_a_controller_that_goes_away_while_missed_runs_are_asked_for_is_asked_again(
    bears: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stream that goes on after the snapshot does not tell of them again."""
    monkeypatch.setattr(watch, "RECONNECT_SECONDS", 0)
    run_ids = [f"run-{number:04}" for number in range(1500)]
    controller = GoesAway(bears)
    ended = follow_any(controller, Output(as_json=False), run_ids, [])  # type: ignore[arg-type]
    assert [(run.run_id, run.state) for run in ended] == [(run_id, SUCCEEDED) for run_id in run_ids]
    assert (controller.bears, controller.tokens) == ([], [""])
    said = capsys.readouterr().err
    assert said.count("Trying again for two minutes") == 1
    assert "of 1500 runs 1500 are over" in said
