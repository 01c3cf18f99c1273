"""What a command tells to type next is what was given to it, as a shell takes it."""

import shlex
from pathlib import Path

from seawall.cli.controller_options import as_typed


def test_what_was_given_is_typed_again_and_nothing_else() -> None:
    given = {"state_dir": Path("/srv/two words"), "agent_listen": None, "server_names": ("a.example", "b.example")}
    words = ["--state-dir", "/srv/two words", "--name", "a.example", "--name", "b.example"]
    assert shlex.split(as_typed(given)) == words
    assert as_typed(given).startswith(" "), "behind a command"


def test_nothing_given_is_nothing_typed() -> None:
    assert as_typed({"state_dir": None, "server_names": None}) == ""
