"""`point forget` beside an older controller, and `point hold` and `release` of more points than one answer holds."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.commands import point_delete, point_hold
from seawall.cli.exits import CommandError, Exit
from seawall.cli.output import Output


class Scripted:
    """A controller that gives the same answer to every call of a name, and remembers what it was asked."""

    def __init__(self, **answers: object) -> None:
        self.backup = SimpleNamespace(**{name: name for name in answers})
        self.answers = answers
        self.asked: list[Any] = []

    def call(self, method: str, request: object, **_: object) -> object:
        self.asked.append(request)
        return self.answers[method]


def behind(controller: Scripted, *, as_json: bool = False) -> Callable[..., object]:
    @contextmanager
    def session(*_: object) -> Iterator[tuple[Scripted, Output]]:
        yield controller, Output(as_json=as_json)

    return session


def forgetting(zone_told: str, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """One point goes, as a controller has it that counted in `zone_told`."""
    point = resources_pb2.Point(point_id="p1", vm_name="db-1")
    verdict = resources_pb2.PointVerdict(point=point, verdict=resources_pb2.VERDICT_KIND_DELETE)
    answer = operator_pb2.ForgetPointsResponse(verdicts=[verdict], zone=zone_told)
    controller = Scripted(ForgetPoints=answer)
    monkeypatch.setattr(point_delete, "session", behind(controller))
    return controller


@pytest.mark.parametrize("plan", [True, False])
def test_a_controller_that_knows_no_zones_deletes_nothing_by_days_in_utc(
    plan: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = forgetting("", monkeypatch)
    with pytest.raises(
        CommandError, match=r"Nothing was deleted: the controller is older .* not in Europe/Berlin"
    ) as caught:
        point_delete.forget_points(all_vms=True, keep_daily=1, zone="Europe/Berlin", plan=plan, yes=True)
    assert (caught.value.code, caught.value.reason) == (Exit.REFUSED, "NEEDS_UPGRADE")
    assert [each.plan_only for each in controller.asked] == [True]


@pytest.mark.parametrize(("zone", "told"), [("UTC", ""), ("UTC", "UTC"), ("Europe/Berlin", "Europe/Berlin")])
def test_what_a_controller_counts_as_it_was_asked_goes(zone: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    controller = forgetting(told, monkeypatch)
    point_delete.forget_points(all_vms=True, keep_daily=1, zone=zone, yes=True)
    assert [(each.plan_only, list(each.planned), each.zone) for each in controller.asked] == [
        (True, [], zone),
        (False, ["p1"], zone),
    ]


@pytest.mark.parametrize(
    ("named", "last"),
    [
        (["p1", "p1"], "p1 of db-1 is {}"),
        (["p1", "p2"], "… and 1 more is {}."),
        (["p1", "p2", "p3"], "… and 2 more are {}."),
    ],
)
def test_points_that_an_answer_had_no_room_for_are_counted(
    named: list[str], last: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    point = resources_pb2.Point(point_id="p1", vm_name="db-1", holds=[resources_pb2.PointHold(reason="audit")])
    held, released = operator_pb2.HoldPointsResponse(points=[point]), operator_pb2.ReleasePointsResponse(points=[point])
    monkeypatch.setattr(point_hold, "session", behind(Scripted(HoldPoints=held, ReleasePoints=released)))
    point_hold.hold_points(named)
    assert capsys.readouterr().out.splitlines()[-1].startswith(last.format("held"))
    point_hold.release_points(named)
    assert capsys.readouterr().out.splitlines()[-1].startswith(last.format("not held"))


def test_a_script_is_told_which_points_an_answer_had_no_room_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it named them: by their ids, or by the beginnings of these."""
    point = resources_pb2.Point(point_id="0192f3c1-7b2e", holds=[resources_pb2.PointHold(reason="audit")])
    held, released = operator_pb2.HoldPointsResponse(points=[point]), operator_pb2.ReleasePointsResponse(points=[point])
    controller = Scripted(HoldPoints=held, ReleasePoints=released)
    monkeypatch.setattr(point_hold, "session", behind(controller, as_json=True))
    named = ["0192f3c1", "0192f3c1-7b2e", "0192f3c2", "0192f3c3", "0192f3c2"]
    point_hold.hold_points(named, as_json=True)
    assert json.loads(capsys.readouterr().out)["left_off"] == ["0192f3c2", "0192f3c3"]
    point_hold.release_points(named[:2], as_json=True)
    assert json.loads(capsys.readouterr().out)["left_off"] == []
