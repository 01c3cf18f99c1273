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


def a_firing(local: str, *starts: str, nothing: str = "") -> policy_pb2.PolicyFiring:
    found = policy_pb2.PolicyFiring(local=local, begins_nothing=nothing)
    for field, start in zip((found.first_start_at, found.last_start_at), starts, strict=False):
        field.FromDatetime(datetime.fromisoformat(start))
    return found


def test_a_firing_that_begins_nothing_shows_no_start_and_says_why_once(capsys: pytest.CaptureFixture[str]) -> None:
    coming = [
        a_firing("Fri", nothing="missed: No window."),
        a_firing("Sat", *["2026-04-04T03:00:00+00:00"] * 2),
        a_firing("Sun", nothing="missed: No window."),
    ]
    lines = shown(policy_pb2.PreviewPolicyResponse(firings=coming), capsys).splitlines()
    assert [line.split() for line in lines if line[:3] in ("Fri", "Sun")] == [
        [day, "missed", "-"] for day in ("Fri", "Sun")
    ]
    assert [line for line in lines if "No window" in line] == ["Missed: No window."]
    assert not any("1970" in line for line in lines)


def test_what_is_not_known_is_in_no_sum(capsys: pytest.CaptureFixture[str]) -> None:
    preview = policy_pb2.PreviewPolicyResponse(
        vms_total=10,
        vms_measured=7,
        vms_timed=6,
        read_bytes=30 << 30,
        first_read_bytes=20 << 30,
        stored_bytes=1 << 30,
        seconds=3600,
        estimated_seconds=1200,
    )
    text = shown(preview, capsys)
    assert "7 of 10 VMs, as their last backups were: 10.0 GiB to read, 1.0 GiB to store." in text
    assert "3 of 10 VMs have no backup yet: not in the sums. First backups read all disks, 20.0 GiB here" in text
    assert "6 of 10 VMs, as long as their last backups took: 1:00:00 one after the other" in text
    assert "about 20:00 from the first start to the last end (an estimate" in text
    fresh = policy_pb2.PreviewPolicyResponse(
        vms_total=2, vms_asked=0, vms_timed=0, first_read_bytes=1 << 30, read_bytes=1 << 30
    )
    nothing = shown(fresh, capsys)
    assert "2 of 2 VMs have no backup yet" in nothing and "How long it takes is not known" in nothing
    assert "0 B" not in nothing and "0.0 s" not in nothing


def test_what_an_older_controller_does_not_say_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(policy_pb2.PreviewPolicyResponse(vms_total=60, vms_measured=7, read_bytes=3 << 30), capsys)
    assert "60 VMs: 3.0 GiB to read, of first backups all disks." in text and "… and 60 more VMs" in text
    assert "not known" not in text and " 0 B" not in text and "0.0 s" not in text


def test_starts_of_what_is_not_applied_are_not_the_last_word(capsys: pytest.CaptureFixture[str]) -> None:
    words = "Once the policy is applied its VMs have other places in it than these."
    for change in (True, False):
        preview = policy_pb2.PreviewPolicyResponse(spread="1h", places_change=change)
        assert (words in shown(preview, capsys)) is change


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
