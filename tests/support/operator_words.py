"""The `seawall` command in this process: the same parser, the same calls, a thirtieth of the time of a child process."""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import structlog
from typer.testing import CliRunner

from seawall.cli import controller_process
from seawall.cli.main import app
from support.cli_command import Answer

_CHANCE = re.compile(r"[0-9a-f]{16}")
"""Names of probes differ from call to call."""


@dataclass(frozen=True)
class Operator:
    """Somebody with this operator.toml."""

    operator_toml: Path | None = None
    extra: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *words: str | Path, stdin: str = "") -> Answer:
        """Fails where the command ends in a way that main() would show as a traceback."""
        config = {"SEAWALL_CONFIG": str(self.operator_toml)} if self.operator_toml else {}
        runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", **config, **self.extra})
        with _silent_services(), _staying():
            done = runner.invoke(app, [str(word) for word in words], input=stdin)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Answer(done.exit_code, done.stdout, done.stderr)

    def refused(self, *words: str | Path, stdin: str = "") -> tuple[int, str, str]:
        """(exit code, reason, message), the same as text and with --json; nothing on standard output but the document."""
        spoken = self(*words, stdin=stdin)
        assert spoken.out == ""
        answer = self(*words, "--json", stdin=stdin)
        message = str(answer.json["error"]["message"])
        assert spoken.code == answer.code
        if answer.reason != "USAGE":  # the parser's own words for people stand in a box
            assert _CHANCE.sub("", f"seawall: {message}\n") in _CHANCE.sub("", spoken.err), spoken.err
        assert "Traceback" not in spoken.err
        return answer.code, answer.reason, message


@contextmanager
def _staying() -> Iterator[None]:
    """`controller run` becomes another program. Here that is called, as this process has more to do."""

    def call(file: Path | None, given: Mapping[str, Any]) -> NoReturn:
        sys.exit(controller_process.serve(controller_process.settings(file, given)))

    before = controller_process.become_controller
    controller_process.become_controller = call
    try:
        yield
    finally:
        controller_process.become_controller = before


@contextmanager
def _silent_services() -> Iterator[None]:
    """A controller in a thread of this process logs to the standard output that is the command's just now."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    try:
        yield
    finally:
        structlog.configure(**before)
