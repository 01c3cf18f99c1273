"""Odd names in what people read, and as names for restored VMs."""

from collections.abc import Mapping

import pytest

from seawall.cli.exits import CommandError, Exit
from seawall.cli.output import Output
from seawall.cli.table import LONGEST_TEXT, lay_out
from seawall.controller.services.orders import is_vm_name

ID = "0192f3c1-58aa-7b3c-8d4e-123456789abc"
NAMES: Mapping[str, bool] = {
    "web1": True,
    "Kopie von Büro 3": True,
    "数据库 🚀": True,
    "a.b_c+d@e-f": True,
    "x" * 100: True,
    "x" * 101: False,
    "数" * 67: False,
    "-v": False,
    ".hidden": False,
    " blank": False,
    "blank ": False,
    "a/b": False,
    "a\\b": False,
    "two\nlines": False,
    "evil\u202efdp": False,
}


@pytest.mark.parametrize(("name", "fits"), NAMES.items())
def test_names_for_restored_vms(name: str, fits: bool) -> None:
    assert is_vm_name(name) is fits


@pytest.mark.parametrize("name", ["db:fire:1", "[red]x[/red]", "[/]", "back\\", "\\[b]", "a[0]", "数据库"])
def test_names_are_printed_as_they_are(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither markup nor emoji codes mean anything in them."""
    output = Output(as_json=False)
    output.line(name, style="bold")
    output.note(name)
    output.error(CommandError(Exit.FAILED, "X", name))
    output.table(("VM",), [(name,)], "")
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [name, "VM", name]
    assert printed.err.splitlines() == [name, f"seawall: {name}"]


def test_a_long_name_does_not_push_the_id_off_a_narrow_terminal() -> None:
    rows = [("数" * 90, "alpha", ID), ("db", "alpha", ID)]
    narrow = lay_out(("VM", "HOST", "#ID"), rows, 80)
    assert narrow[1][0].rstrip().endswith("…") and narrow[1][0].startswith("数数")
    (width,) = {sum(1 + (ord(character) > 0x3000) for character in line[0]) for line in narrow}
    assert LONGEST_TEXT - 1 <= width <= LONGEST_TEXT
    assert lay_out(("VM", "HOST", "#ID"), rows, None)[1][0] == "数" * 90, "whole in a pipe"
    assert lay_out(("VM", "WHY"), [("db", "w" * 90)], 80)[1][1] == "w" * 90, "the last column is never cut"
