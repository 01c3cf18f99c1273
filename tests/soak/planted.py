"""Bugs planted in a copy of the product, each of which the soak must find: `python -m tests.soak --planted NAME`.

The copy has a virtual environment of its own, whose `seawall` the laboratory starts; the soak itself is the same.
"""

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from .report import LABORATORY

TREE = Path(__file__).resolve().parents[2]
PORTIONS = ("agent", "cli", "controller", "proto", "repository")
WRONG, FROZEN, LEFT = "wrong_points", "freezes_too_long", "leftovers"
"""Of build/soak.json: sentences."""

_COMMAND = "#!{python}\nimport sys\nfrom seawall.cli.main import main\nsys.exit(main())\n"


@dataclass(frozen=True)
class Edit:
    """In the file of that path, `old`, which is there once, becomes `new`."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Bug:
    """What it does, and in which list of findings the soak must name it."""

    what: str
    found_as: str
    edits: tuple[Edit, ...]


_CAPTURE = "agent/seawall/agent/capture"
_EXTENTS = "agent/seawall/agent/disk/extents.py"
_MAKES = "self._hypervisor.create_checkpoint(self._request.vm_id, self._name, disks, targets)"

BUGS: Mapping[str, Bug] = MappingProxyType(
    {
        "dirty-is-clean": Bug(
            "every eighth MiB of a bitmap is taken for clean",
            WRONG,
            (
                Edit(
                    _EXTENTS,
                    "bool(dirty_flags & FLAG_DIRTY)",
                    "bool(dirty_flags & FLAG_DIRTY and (offset >> 20) % 8 != 3)",
                ),
            ),
        ),
        "zeroes-are-clean": Bug(
            "what reads as zeroes is taken for clean, though it was written to",
            WRONG,
            (
                Edit(
                    _EXTENTS,
                    "bool(dirty_flags & FLAG_DIRTY)",
                    "bool(dirty_flags & FLAG_DIRTY and not zero_flags & FLAG_ZERO)",
                ),
            ),
        ),
        "late-checkpoint": Bug(
            "the checkpoint is made after the instant: what is written in between is in no bitmap",
            WRONG,
            (
                Edit(f"{_CAPTURE}/libvirt_capture.py", _MAKES, "pass"),
                Edit(
                    f"{_CAPTURE}/libvirt_capture.py",
                    "self._where.socket, None, targets)\n",
                    f"self._where.socket, None, targets)\n            if self._tracks:\n                {_MAKES}\n",
                ),
            ),
        ),
        "never-thaws": Bug(
            "the guard says that it thawed the guest, and did not",
            FROZEN,
            (
                Edit(
                    f"{_CAPTURE}/guard/freezing.py",
                    "            thaw(self._hypervisor, self._vm_id)\n",
                    "            pass\n",
                ),
            ),
        ),
        "scratch-stays": Bug(
            "nobody removes scratch files",
            LEFT,
            (
                Edit(f"{_CAPTURE}/leftovers.py", 'ours += where.scratch.glob(f"*{SCRATCH_SUFFIX}")', "pass"),
                Edit(f"{_CAPTURE}/ending.py", "            file.unlink(missing_ok=True)\n", "            pass\n"),
            ),
        ),
        "orphans-stay": Bug(
            "checkpoints of attempts without a point stay",
            LEFT,
            (Edit(f"{_CAPTURE}/sweep.py", "if attempt is None or attempt in live", "if attempt or attempt in live"),),
        ),
        "root-forgotten": Bug(
            "a collection does not see the oldest point",
            WRONG,
            (
                Edit(
                    "controller/seawall/controller/database/points.py",
                    "query.order_by(restore_points.c.id).limit(limit)",
                    "query.order_by(restore_points.c.id).limit(limit).offset(0 if after else 1)",
                ),
            ),
        ),
    }
)


def plant(bug: Bug, folder: Path) -> Path:
    """A virtual environment in `folder`, made anew, in which the product has this bug; its interpreter."""
    shutil.rmtree(folder, ignore_errors=True)
    for portion in PORTIONS:
        shutil.copytree(
            TREE / portion / "seawall", folder / portion / "seawall", ignore=shutil.ignore_patterns("__pycache__")
        )
    for edit in bug.edits:
        path = folder / edit.path
        path.write_text(edited(path.read_text(), edit))
    return _environment(folder)


def edited(text: str, edit: Edit) -> str:
    """Raises ValueError when the words are not there once."""
    if text.count(edit.old) != 1:
        raise ValueError(f"{edit.path} has {edit.old!r} {text.count(edit.old)} times")
    return text.replace(edit.old, edit.new)


def _environment(folder: Path) -> Path:
    """What else is installed here is seen from there, behind the copy."""
    home = folder / "venv"
    venv.EnvBuilder(symlinks=True, system_site_packages=True).create(home)  # libvirt and nbd are Debian packages
    python = home / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    ways = [*(str(folder / portion) for portion in PORTIONS), *(way for way in sys.path if way.endswith("-packages"))]
    (packages / "planted.pth").write_text("\n".join(ways) + "\n")
    command = home / "bin" / "seawall"
    command.write_text(_COMMAND.format(python=python))
    command.chmod(0o755)
    for other in Path(sys.executable).parent.iterdir():  # as the laboratory's S3 server
        if not (beside := python.with_name(other.name)).exists():
            beside.symlink_to(other)
    return python


def hunt(name: str, words: list[str], folder: Path) -> tuple[bool, str]:
    """Play the soak with these words on the bug, until it finds something. Whether it did, and what, in a sentence."""
    result = folder / f"{name}.json"
    result.unlink(missing_ok=True)
    python = plant(BUGS[name], folder / name)
    command = [str(python), "-m", "tests.soak", *words, "--until-wrong", "--result", str(result)]
    ended = subprocess.run(command, cwd=TREE, check=False).returncode
    if not result.exists():
        return False, f"the soak ended with {ended}, and no round was over"
    told = json.loads(result.read_text())
    sentences = [one for one in told[BUGS[name].found_as] if not one.startswith(LABORATORY)]
    saying = sentences[0] if sentences else "nothing of it"
    return bool(sentences), f"{told['rounds']} rounds, {told['seconds']} s: {saying}"
