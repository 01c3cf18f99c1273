"""The judge of a restore: cmp, against the image that was backed up."""

import subprocess
from pathlib import Path


class WrongBytes(Exception):
    """A restored image differs from what was backed up."""


def compare(who: str, truth: Path, restored: Path) -> None:
    """Removes the restored file when it is right. Raises WrongBytes."""
    done = subprocess.run(["cmp", str(truth), str(restored)], capture_output=True, text=True)
    if done.returncode != 0:
        raise WrongBytes(f"{who}: {(done.stdout + done.stderr).strip()}")
    restored.unlink()
