"""System trees: made by mmdebstrap, copied into an image in a given order.

As a process of its own in a private mount namespace, which ends what mmdebstrap mounts, however it ends (`image_file.inside_namespace`):

python -m tests.benchmarks.images.file_trees TREE DEBS PACKAGE...
"""

import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from .image_file import run
from .recipe import SUITE


def make_tree(packages: Iterable[str], tree: Path, debs: Path) -> None:
    """A Debian system with these packages, installed in that order of request. `debs` keeps what was downloaded for the next one."""
    debs.mkdir(parents=True, exist_ok=True)
    archives = "/var/cache/apt/archives"
    run(
        "mmdebstrap",
        "--variant=important",
        "--skip=essential/unlink,cleanup/apt",  # else the packages are gone before they could be kept
        f'--setup-hook=mkdir -p "$1"{archives}',
        f"--setup-hook=sync-in {debs} {archives}",
        f"--customize-hook=sync-out {archives} {debs}",
        f'--customize-hook=rm -rf "$1"{archives}/*.deb "$1"/var/lib/apt/lists/*_*',
        '--aptopt=Apt::Install-Recommends "false"',
        "--dpkgopt=force-unsafe-io",
        f"--include={','.join(packages)}",
        SUITE,
        str(tree),
    )


def copy_tree(tree: Path, target: Path, seed: int | None) -> None:
    """Everything with owners, modes, hard links. With a seed, files come in a shuffled order: other places on the disk."""
    names = _names(tree, seed)
    alike = ["--xattrs", "--numeric-owner"]
    pack = [
        "tar",
        "--create",
        f"--directory={tree}",
        "--no-recursion",
        "--null",
        "--verbatim-files-from",
        "--files-from=-",
    ]
    unpack = ["tar", "--extract", f"--directory={target}", "--preserve-permissions", "--delay-directory-restore"]
    with (
        subprocess.Popen([*pack, *alike], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as packing,
        subprocess.Popen([*unpack, *alike], stdin=packing.stdout) as unpacking,
    ):
        if packing.stdin is None or packing.stdout is None:
            raise RuntimeError("tar without pipes")
        packing.stdout.close()
        packing.stdin.write(b"".join(bytes(name) + b"\0" for name in names))
        packing.stdin.close()
    if packing.returncode or unpacking.returncode:
        raise RuntimeError(f"tar ended with {packing.returncode} and {unpacking.returncode}")


def _names(tree: Path, seed: int | None) -> list[Path]:
    """Relative to the tree; directories first."""
    found = sorted(path.relative_to(tree) for path in tree.rglob("*"))
    directories = [name for name in found if (tree / name).is_dir() and not (tree / name).is_symlink()]
    known = set(directories)
    others = [name for name in found if name not in known]
    if seed is not None:
        random.Random(seed).shuffle(others)
    return [*directories, *others]


if __name__ == "__main__":
    make_tree(sys.argv[3:], Path(sys.argv[1]), Path(sys.argv[2]))
