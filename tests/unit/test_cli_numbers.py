"""Numbers on the command line: none is too large for a sentence, none is taken for another one."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from seawall.cli.exits import Exit
from seawall.cli.main import app
from seawall.cli.numbers import MOST, whole_number
from seawall.cli.text import parse_size

RUNNER = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})

TOO_LARGE = [str(1 << 63), str(1 << 64), str(10**30), "9" * 5000]
NO_NUMBERS = ["-1", "-" + "9" * 5000, "1_000", "٣", "1.0", "1e3", "+5", "0x10", "five"]
"""The first two are numbers, but below each of these options."""

COMMANDS = [
    "limit set global --transferring",
    "host token --max-uses",
    "point list --limit",
    "point forget --all-vms --keep-last",
    "backup web1 --iops",
]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a controller that is not there: what was understood ends as UNREACHABLE."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("numbers") / "operator.toml"
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    path.write_text(f"address = \"127.0.0.1:1\"\nca_pem = '''{pem}'''\ntoken = \"none\"\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("number", [*TOO_LARGE, *NO_NUMBERS], ids=lambda text: text[:24])
def test_a_number_that_cannot_be_meant_is_a_usage_error(config: Path, command: str, number: str) -> None:
    words = [*command.split(), number, "--config", str(config)]
    answer = RUNNER.invoke(app, words)
    assert answer.exit_code == Exit.USAGE
    assert "Traceback" not in answer.stderr and "report it" not in answer.stderr
    error = json.loads(RUNNER.invoke(app, [*words, "--json"]).stdout)["error"]
    assert error["reason"] in ("USAGE", "BAD_AMOUNT")
    assert number[:20] in error["message"]


@pytest.mark.parametrize(
    ("command", "bounds"),
    [("host token", "[1..10000]"), ("run list", "[1..] [default: 50]"), ("limit set", "[1..1000000000]")],
)
def test_help_says_which_numbers_are_taken(command: str, bounds: str) -> None:
    assert bounds in RUNNER.invoke(app, [*command.split(), "--help"]).stdout


@pytest.mark.parametrize("number", ["0" * 40 + "7", "7"])
def test_what_is_a_number_reaches_the_controller(config: Path, number: str) -> None:
    answer = RUNNER.invoke(app, ["limit", "set", "global", "--transferring", number, "--config", str(config)])
    assert answer.exit_code == Exit.UNREACHABLE


def test_the_largest_number_is_one_that_the_message_holds(config: Path) -> None:
    answer = RUNNER.invoke(app, ["run", "list", "--limit", str(MOST), "--config", str(config)])
    assert answer.exit_code == Exit.UNREACHABLE
    assert whole_number("-3", least=-5) == -3


@pytest.mark.parametrize("number", [*TOO_LARGE, "-1", "1_0", "٣", "0"], ids=lambda text: text[:24])
def test_percentages_and_sizes_are_read_the_same_way(config: Path, number: str) -> None:
    answer = RUNNER.invoke(app, ["repo", "check", "main", f"--read-data={number}%", "--config", str(config), "--json"])
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["reason"]) == (Exit.USAGE, "BAD_PERCENT")
    with pytest.raises(ValueError):
        parse_size(number)


def test_every_option_that_takes_a_number_reads_it_the_same_way() -> None:
    """A new one that is declared in another way is found here."""
    assert list(numbers_read_otherwise(typer.main.get_group(app))) == []


def numbers_read_otherwise(group: typer.core.TyperGroup, path: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from numbers_read_otherwise(command, f"{name} ")
            continue
        for parameter in command.params:
            described = getattr(parameter, "type_descriptor", None)
            if described is not None and described.annotation is int and described.parameter_info.parser is None:
                yield f"{path}{name} {parameter.opts[0]}"
