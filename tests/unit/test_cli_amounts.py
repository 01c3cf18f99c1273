"""Rates, sizes and short times as people type them, and the options that take them."""

import pytest
from typer.testing import CliRunner

from seawall.cli.amounts import amount_text, parse_bytes, parse_milliseconds, parse_rate
from seawall.cli.capture_options import CaptureOptions, Freeze, settings_lines
from seawall.cli.exits import CommandError, Exit
from seawall.cli.main import app


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("50MB/s", 50_000_000),
        ("50mb", 50_000_000),
        ("50M", 50_000_000),
        ("1.5 GiB/s", 3 << 29),
        ("100KiB", 102_400),
        ("1000000", 1_000_000),
        ("7B", 7),
        ("none", 0),
    ],
)
def test_rates(text: str, count: int) -> None:
    assert parse_rate(text) == count


@pytest.mark.parametrize("text", ["", "fast", "-5MB", "0", "5 XB", "5MB/min", "1e9", "٣MB", "0x10", "MB", "9" * 30])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError):
        parse_rate(text)


def test_milliseconds() -> None:
    assert [parse_milliseconds(text, "auto") for text in ("20ms", "1.5s", "auto")] == [20, 1500, 0]
    for text in ("20", "0ms", "0.2ms", "5m", "", "none"):
        with pytest.raises(ValueError):
            parse_milliseconds(text, "auto")


@pytest.mark.parametrize("count", [1000, 1024, 50_000_000, 50 << 20, 1 << 40, 10**12, 2048])
def test_what_is_told_is_what_was_said(count: int) -> None:
    assert parse_bytes(amount_text(count)) == count


def test_options_become_settings_and_lines() -> None:
    options = CaptureOptions(Freeze.require, "5s", "20ms", "50MB/s", 0, ["vdb", "vdc"], "none")
    assert dict(settings_lines(options.message())) == {
        "freeze": "require",
        "freeze-limit": "5 s",
        "latency-ceiling": "20 ms",
        "limit": "50 MB/s",
        "iops": "none",
        "exclude-disk": "vdb, vdc",
        "scratch-quota": "none",
    }
    assert list(settings_lines(CaptureOptions().message())) == []
    nothing_excluded = CaptureOptions(exclude_disk=["none"]).message()
    assert nothing_excluded.HasField("exclude_disks") and not nothing_excluded.exclude_disks.disks


@pytest.mark.parametrize(
    "options",
    [
        CaptureOptions(limit="fast"),
        CaptureOptions(latency_ceiling="20"),
        CaptureOptions(freeze_limit="auto"),
        CaptureOptions(scratch_quota="-1GB"),
        CaptureOptions(iops=1 << 40),
    ],
)
def test_a_wrong_amount_says_which_option_and_what_to_say(options: CaptureOptions) -> None:
    with pytest.raises(CommandError) as wrong:
        options.message()
    assert wrong.value.code == Exit.USAGE and wrong.value.reason == "BAD_AMOUNT"
    assert str(wrong.value).startswith("--")


@pytest.mark.parametrize("words", [["vm", "protect"], ["vm", "protect", "db", "--unset", "colour"], ["vm", "ignore"]])
def test_wrong_command_lines(words: list[str]) -> None:
    assert CliRunner().invoke(app, words).exit_code == Exit.USAGE
