"""The images, each made once and kept. A killed run leaves at most a file whose name begins with a dot, which the next run replaces."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from . import recipe
from .image_file import allocated_bytes, copy_sparse, inside_namespace, make_empty, run
from .places import BENCH, DEBS, IMAGES

NAMES = ("base", "clone", "next_day", "rewritten", "independent", "sparse2t")
_MOUNT = BENCH / "mount"
_SPARSE_BYTES = 2 << 40
_SPARSE_PARTS = 64


def image(name: str) -> Path:
    return IMAGES / f"{name}.raw"


def make_images(say: Callable[[str], None]) -> None:
    """Whatever is missing, in the order in which each builds on the one before."""
    _forget_other_versions()
    makers = {
        "base": lambda path: _from_tree(path, "base", recipe.BASE_PACKAGES, "fill"),
        "clone": lambda path: _from_image(path, "base", "clone"),
        "next_day": lambda path: _from_image(path, "clone", "next_day", *_next_day_packages()),
        "rewritten": lambda path: _from_image(path, "next_day", "rewritten"),
        "independent": lambda path: _from_tree(path, "independent", recipe.INDEPENDENT_PACKAGES, "fill_in_other_order"),
        "sparse2t": _sparse,
    }
    for name, maker in makers.items():
        if not image(name).exists():
            say(f"Making the image {name}")
            unfinished = IMAGES / f".{name}.raw"
            unfinished.unlink(missing_ok=True)
            maker(unfinished)
            unfinished.chmod(0o444)
            unfinished.rename(image(name))


def describe() -> dict[str, dict[str, int]]:
    """Per image: size and allocation in MiB."""
    return {
        name: {
            "size_mib": image(name).stat().st_size // recipe.MIB,
            "allocated_mib": allocated_bytes(image(name)) // recipe.MIB,
        }
        for name in NAMES
    }


def _forget_other_versions() -> None:
    stamp, now = IMAGES / "recipe.json", json.dumps({"version": recipe.VERSION})
    if not stamp.exists() or stamp.read_text() != now:
        shutil.rmtree(IMAGES, ignore_errors=True)
        IMAGES.mkdir(parents=True)
        stamp.write_text(now)


def _from_tree(path: Path, name: str, packages: tuple[str, ...], change: str) -> None:
    tree = BENCH / f"tree-{name}"
    shutil.rmtree(tree, ignore_errors=True)
    inside_namespace("file_trees", [str(tree), str(DEBS), *packages])
    make_empty(path, name)
    _change(path, change, str(tree))
    shutil.rmtree(tree)


def _from_image(path: Path, source: str, change: str, *arguments: str) -> None:
    copy_sparse(image(source), path)
    path.chmod(0o600)
    _change(path, change, *arguments)


def _change(path: Path, change: str, *arguments: str) -> None:
    inside_namespace("changes", [change, str(path), str(_MOUNT), *arguments])


def _next_day_packages() -> list[str]:
    """Their .deb files, downloaded when they are not there."""
    place = BENCH / "next_day_packages"
    place.mkdir(parents=True, exist_ok=True)
    if len(list(place.glob("*.deb"))) < len(recipe.NEXT_DAY_PACKAGES):
        run("apt-get", "update", "--quiet", "--quiet")
        download = ["apt-get", "download", "--quiet", "--quiet", "-o", "APT::Sandbox::User=root"]
        subprocess.run([*download, *recipe.NEXT_DAY_PACKAGES], cwd=place, check=True, capture_output=True)
    return [str(path) for path in sorted(place.glob("*.deb"))]


def _sparse(path: Path) -> None:
    """2 TiB of hole with pieces of the base image's data spread over it, and something in the last block."""
    with open(path, "wb") as file, open(image("base"), "rb") as source:
        file.truncate(_SPARSE_BYTES)
        for part in range(_SPARSE_PARTS):
            source.seek(part * (recipe.IMAGE_BYTES // _SPARSE_PARTS))
            file.seek(part * (_SPARSE_BYTES // _SPARSE_PARTS) + 512 * recipe.MIB)
            file.write(source.read(8 * recipe.MIB))
        file.seek(_SPARSE_BYTES - 4096)
        file.write(b"the end".ljust(4096, b"\0"))
    run("sync", str(path))
