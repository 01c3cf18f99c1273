"""Previews and plans of policies as text: what is not listed is counted, and how to see it is said."""

from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from seawall.api.v1 import policy_pb2, resources_pb2
from seawall.cli.main import app
from seawall.cli.output import Output
from seawall.cli.policy_text import VMS_SHOWN, print_changes, print_preview

NOW = datetime(2026, 3, 30, 12, tzinfo=UTC)


def a_verdict(instant: str, *reasons: str) -> resources_pb2.PointVerdict:
    found = resources_pb2.PointVerdict(verdict=resources_pb2.VERDICT_KIND_KEEP, reasons=reasons)
    found.point.point_id, found.point.vm_name = "0192", "db"
    found.point.instant.FromDatetime(datetime.fromisoformat(instant))
    return found


def shown(preview: policy_pb2.PreviewPolicyResponse, capsys: pytest.CaptureFixture[str]) -> str:
    print_preview(Output(as_json=False), preview, NOW, points=True)
    return capsys.readouterr().out


def test_points_are_shown_at_times_of_the_policys_zone(capsys: pytest.CaptureFixture[str]) -> None:
    verdict = a_verdict("2026-03-29T23:30:00+00:00", "newest", "daily 2026-03-30")
    text = shown(policy_pb2.PreviewPolicyResponse(verdicts=[verdict], zone="Europe/Berlin"), capsys)
    assert "INSTANT (Europe/Berlin)" in text
    assert "2026-03-30 01:30:00 keep newest, daily 2026-03-30" in " ".join(text.split())


def test_a_zone_that_is_not_known_here_is_not_named(capsys: pytest.CaptureFixture[str]) -> None:
    verdict = a_verdict("2026-03-29T23:30:00+00:00", "newest")
    for zone in ("", "Mars/Olympus", "/etc/passwd"):
        text = shown(policy_pb2.PreviewPolicyResponse(verdicts=[verdict], zone=zone), capsys)
        assert "INSTANT  " in text and "newest" in text


def test_what_is_not_listed_is_counted_and_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    vms = [policy_pb2.PolicyVm(name=f"vm-{number}") for number in range(1000)]
    preview = policy_pb2.PreviewPolicyResponse(
        vms=vms,
        vms_total=20_000,
        vms_asked=20_000,
        points_total=30_000,
        points_to_delete=13_000,
        verdicts_left_off=25_000,
        deletions_left_off=8_000,
    )
    text = shown(preview, capsys)
    assert f"… and {20_000 - VMS_SHOWN} more VMs (--json lists up to 1,000, --vm any)." in text
    assert "… and 25000 points more, 8000 that go and 17000 that stay: name VMs with --vm to see theirs." in text
    assert "Of 30000 points of all its VMs 13000 would be deleted." in text


@pytest.mark.parametrize("command", ["policy preview", "point forget"])
def test_there_is_the_option_that_messages_name(command: str) -> None:
    assert "--vm" in CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"}).stdout


def test_a_plan_says_how_to_see_what_would_go(capsys: pytest.CaptureFixture[str]) -> None:
    change = policy_pb2.PolicyChange(
        policy="nightly", kind=policy_pb2.POLICY_CHANGE_KIND_CHANGED, points_to_delete=13_000
    )
    print_changes(Output(as_json=False), [change], plan_only=True)
    told = "13000 points would be deleted by its retention. `seawall policy preview -f FILE --points` names them."
    assert told in capsys.readouterr().out
