"""What happens inside an image, by name. A process of its own in a private mount namespace (`image_file.inside_namespace`):

python -m tests.benchmarks.images.changes CHANGE IMAGE MOUNT [ARGUMENT...]
"""

import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from . import recipe
from .database import change_pages, write_table
from .file_trees import copy_tree
from .image_file import mounted, run
from .log_lines import access_lines, system_lines


def fill(root: Path, tree: str) -> None:
    """The tree, in its own order."""
    copy_tree(Path(tree), root, None)


def fill_in_other_order(root: Path, tree: str) -> None:
    copy_tree(Path(tree), root, recipe.SEEDS["independent"])


def clone(root: Path) -> None:
    """Another machine from the same template, in use: its own identity, a database, uploads, logs; some documentation deleted."""
    seed = recipe.SEEDS["clone"]
    chance = random.Random(seed)
    (root / "etc/hostname").write_text("web1\n")
    (root / "etc/machine-id").write_text(f"{chance.getrandbits(128):032x}\n")
    for kind in ("rsa", "ecdsa", "ed25519"):
        (root / f"etc/ssh/ssh_host_{kind}_key").write_text(f"{chance.getrandbits(2048):x}\n")
    for directory in sorted((root / "usr/share/doc").iterdir())[::9]:
        if directory.is_dir() and not directory.is_symlink():
            shutil.rmtree(directory)
    write_table(root / recipe.DATABASE, seed)
    uploads = root / "srv/uploads"
    uploads.mkdir(parents=True)
    for number in range(recipe.UPLOADS):
        (uploads / f"{number:04}.jpg").write_bytes(chance.randbytes(recipe.UPLOAD_BYTES))
    _grow_logs(root, seed)


def next_day(root: Path, *packages: str) -> None:
    """Database pages written in place, logs grown, packages installed."""
    seed = recipe.SEEDS["next_day"]
    change_pages(root / recipe.DATABASE, seed)
    _grow_logs(root, seed)
    for package in packages:
        shutil.copy(package, root / "tmp")
    names = [f"/tmp/{Path(package).name}" for package in packages]
    run("chroot", str(root), "env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--force-depends", "--install", *names)
    for name in names:
        (root / name.lstrip("/")).unlink()


def rewritten(root: Path) -> None:
    """REWRITTEN_FILES files with the same content in new places, as an upgrade or a configuration tool leaves them."""
    chance = random.Random(recipe.SEEDS["rewritten"])
    found = sorted(path for path in (root / "usr").rglob("*") if path.is_file() and not path.is_symlink())
    large_enough = [path for path in found if path.stat().st_size >= 4096]
    for path in chance.sample(large_enough, recipe.REWRITTEN_FILES):
        temporary = path.with_name(path.name + ".new")
        shutil.copy2(path, temporary)
        temporary.rename(path)


def _grow_logs(root: Path, seed: int) -> None:
    for name, lines in ((recipe.ACCESS_LOG, access_lines), (recipe.SYSLOG, system_lines)):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a") as file:
            file.writelines(lines(seed, recipe.LOG_LINES))


CHANGES: dict[str, Callable[..., None]] = {
    each.__name__: each for each in (fill, fill_in_other_order, clone, next_day, rewritten)
}


def main(words: list[str]) -> None:
    change, image, mount, *arguments = words
    with mounted(Path(image), Path(mount)) as root:
        CHANGES[change](root, *arguments)
        os.sync()


if __name__ == "__main__":
    main(sys.argv[1:])
