"""The judge of a restore: `qemu-img compare`, against the image that was backed up. It passes over what is a hole in both."""

import subprocess
from pathlib import Path


class WrongBytes(Exception):
    """A restored image differs from what was backed up."""


def compare(who: str, truth: Path, restored: Path) -> None:
    """Removes the restored file when it is right. Raises WrongBytes."""
    if restored.stat().st_size != truth.stat().st_size:
        raise WrongBytes(f"{who}: {restored.stat().st_size} bytes, not {truth.stat().st_size}")
    done = subprocess.run(
        ["qemu-img", "compare", "-f", "raw", "-F", "raw", str(truth), str(restored)], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise WrongBytes(f"{who}: {(done.stdout + done.stderr).strip()}")
    restored.unlink()
