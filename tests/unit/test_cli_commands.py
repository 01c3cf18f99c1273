"""The command line itself: every command explains itself, and mistakes end with the documented code."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from seawall.cli.exits import CommandError, Exit
from seawall.cli.main import app
from seawall.cli.new_repository import repository_url
from seawall.cli.usage import with_values

RUNNER = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


def commands(group: typer.core.TyperGroup, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        here = (*path, name)
        found += commands(command, here) if isinstance(command, typer.core.TyperGroup) else [here]
    return found


ALL = commands(typer.main.get_group(app))


def test_the_promised_commands_are_there() -> None:
    promised = "up,controller init,controller run,agent join,agent run,agent status,host list,host token,vm list,vm show,backup,run list"
    promised += (
        ",run show,run watch,run cancel,point list,point show,restore,repo add,repo list,repo show,repo keys,status"
        ",rescue list,rescue restore,point delete,point forget,repo collect,repo check,repo heal,repo jobs,job show,job watch,job cancel"
    )
    assert {tuple(line.split()) for line in promised.split(",")} <= set(ALL)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_says_what_it_does(path: tuple[str, ...]) -> None:
    result = RUNNER.invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    serves = path[-1] == "run" and path[0] in ("controller", "agent")
    assert serves or "--json" in result.output


def test_the_exit_codes_stand_in_the_help() -> None:
    output = RUNNER.invoke(app, ["--help"]).output
    for word in (
        "Exit codes:",
        "the controller (for `rescue`: the store) cannot be reached",
        "the run or job was canceled",
    ):
        assert word in output


@pytest.mark.parametrize("path", [["status"], ["vm", "list"], ["run", "show", "0123abcd"], ["backup", "web1"]])
def test_without_a_configuration_every_command_says_so(path: list[str], tmp_path: Path) -> None:
    missing = str(tmp_path / "none.toml")
    result = RUNNER.invoke(app, [*path, "--config", missing])
    assert result.exit_code == Exit.USAGE
    assert missing in result.stderr
    document = json.loads(RUNNER.invoke(app, [*path, "--config", missing, "--json"]).stdout)
    assert document["error"]["reason"] == "NO_CONFIG"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("vm list --json --colour", "No such option: --colour"),
        ("backup --json", "Missing argument"),
        ("backup --all web1 --json", "as well as --all"),
        ("restore 0123 --json", "--to"),
        ("backup web1 --freeze maybe --json", "maybe"),
        ("nonsense --json", "nonsense"),
        ("vm --json", "No such option: --json"),
    ],
)
def test_usage_errors_of_scripts_are_documents_too(words: str, told: str) -> None:
    result = RUNNER.invoke(app, words.split())
    error = json.loads(result.stdout)["error"]
    assert (result.exit_code, error["exit_code"], error["reason"], result.stderr) == (2, 2, "USAGE", "")
    assert told in error["message"]


def test_a_value_that_may_be_left_out_takes_no_other_word() -> None:
    assert with_values(["repo", "check", "--read-data", "main"]) == ["repo", "check", "--read-data=100", "main"]
    assert with_values(["--read-data=5", "--", "--read-data"]) == ["--read-data=5", "--", "--read-data"]


def test_what_follows_two_dashes_is_no_option() -> None:
    result = RUNNER.invoke(app, ["vm", "show", "--colour", "--", "--json"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "No such option" in result.stderr


def test_unknown_options_are_usage_errors() -> None:
    assert RUNNER.invoke(app, ["vm", "list", "--colour"]).exit_code == Exit.USAGE
    assert RUNNER.invoke(app, ["backup", "web1", "--freeze", "maybe"]).exit_code == Exit.USAGE


@pytest.mark.parametrize(
    ("url", "endpoint", "full"),
    [
        ("s3://b", "http://h:1", "s3://b?endpoint=http://h:1&region=us-east-1"),
        ("s3://b/p/q", "", "s3://b/p/q?region=us-east-1"),
        ("s3://b?endpoint=http://h:1", "", "s3://b?endpoint=http://h:1"),
        ("/srv/x y", "", "file:///srv/x%20y"),
        ("file:///srv/x", "", "file:///srv/x"),
    ],
)
def test_repository_urls(url: str, endpoint: str, full: str) -> None:
    assert repository_url(url, endpoint, "us-east-1") == full


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("ftp://h/x", ""),
        ("s3://b?endpoint=http://a", "http://b"),
        ("file:///x", "http://h"),
        ("s3:/b/p", "http://h"),
        ("s3:b", ""),
    ],
)
def test_repository_urls_that_make_no_sense(url: str, endpoint: str) -> None:
    with pytest.raises(CommandError) as caught:
        repository_url(url, endpoint, "us-east-1")
    assert caught.value.reason == "BAD_URL"
