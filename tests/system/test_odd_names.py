"""VMs whose names have blanks, quotes, other scripts, or look like options: listed, addressed, backed up and restored."""

import json
import unicodedata

import pytest
from deploy.lab.laboratory import Laboratory

from support.cli_command import Answer
from support.odd_vms import IMAGES, OddVm, clear_beta, new_disk, odd_vm, operate, restored_vm, starts

pytest_plugins = ["support.laboratory"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

NAMES = {
    "two words": "two words",
    'it\'s "quoted"': 'it\'s "quoted"',
    "$(touch pwned);`id`&|<x>*?%s%n": "$(touch pwned);`id`&|<x>*?%s%n",
    "--wait": "--wait",
    "[red]db:fire:\\1": "[red]db:fire:\\1",
    "שלום": "שלום",
    "e\u0301te\u0301": "e\u0301te\u0301",
    "数据库🚀": "数据库🚀",
    "👩\u200d👧": "👩 👧",
    "evil\u202efdp": "evil fdp",
    "tab\tbed": "tab bed",
    " blanks ": "blanks",
    "x" * 230: "x" * 230,
}
"""As libvirt has them -> as Seawall shows them: what a terminal would act upon is a blank."""

ASKED = ('it\'s "quoted"', "--wait", "e\u0301te\u0301", "x" * 230)


@pytest.mark.slow
def test_every_name_is_listed_in_line_and_found_by_its_own_and_its_shown_name(fleet: Laboratory) -> None:
    made = [OddVm(fleet, name, []) for name in NAMES]
    try:
        for vm in made:
            vm.define()
        for vm in made:
            vm.await_known()
        listed = operate(fleet, "vm", "list")
        shown = operate(fleet, "vm", "list", "--json").json["vms"]
        asked = [*ASKED, *(word for pair in NAMES.items() if len(set(pair)) == 2 for word in pair)]
        found = {name: operate(fleet, "vm", "show", "--json", "--", name) for name in asked}
        text = operate(fleet, "vm", "show", "--", "[red]db:fire:\\1").out
    finally:
        for vm in made:
            vm.remove()
    ids = {vm.name: vm.vm_id for vm in made}
    assert {ids[name]: told for name, told in NAMES.items()}.items() <= {
        vm["vm_id"]: vm["name"] for vm in shown
    }.items()
    ids |= {told: ids[name] for name, told in NAMES.items()}
    assert {name: answer.json.get("vm_id") for name, answer in found.items()} == {name: ids[name] for name in found}
    lines = [
        line for line in listed.out.splitlines() if any(vm.vm_id in line for vm in made)
    ]  # others are not of this test
    assert len(lines) == len(made) and len({columns_before("alpha", line) for line in lines}) == 1, listed.out
    assert text.splitlines()[0] == "[red]db:fire:\\1"


@pytest.mark.parametrize(
    "name",
    [
        'Büro "3" it\'s; $(id) 数据🚀',
        pytest.param("-v", marks=pytest.mark.slow),
        pytest.param("y" * 230, marks=pytest.mark.slow),
        pytest.param("ü" * 115, marks=pytest.mark.slow),
    ],
)
def test_a_vm_comes_back_under_its_odd_name_and_under_another(fleet: Laboratory, name: str) -> None:
    with odd_vm(fleet, name, [new_disk(fleet, "vda", "qcow2", 1 << 20)]) as vm:
        done = operate(fleet, "backup", "--repo", "main", "--freeze", "never", "--wait", "--json", "--", name)
        assert done.code == 0, done.out
        vm.await_clean(checkpoints=1)
    point = done.json["runs"][0]["point_id"]
    assert [row["point_id"] for row in points_of(operate(fleet, "point", "list", f"--vm={name}", "--json"))] == [point]
    assert restored_name(operate(fleet, "restore", point, "--to", "beta", "--wait", "--json")) == name
    starts(fleet, name)
    again = operate(fleet, "restore", point, "--to", "beta", "--as", "Kopie von Büro 3", "--wait", "--json")
    assert restored_name(again) == "Kopie von Büro 3"
    (file,) = restored_vm(fleet, "Kopie von Büro 3").values()
    assert file == fleet.hosts["beta"].outside(f"{IMAGES}/Kopie von Büro 3-vda.qcow2")
    starts(fleet, "Kopie von Büro 3")
    clear_beta(fleet)


def points_of(answer: Answer) -> list[dict[str, str]]:
    assert answer.code == 0, answer.out
    return list(answer.json["points"])


def restored_name(answer: Answer) -> str:
    assert answer.code == 0, answer.out
    return str(json.loads(answer.out)["runs"][0]["vm_name"])


def columns_before(word: str, line: str) -> int:
    """How many columns of a terminal the line takes before the word."""
    return sum(width(character) for character in line[: line.index(word)])


def width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
