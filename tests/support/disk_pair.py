"""Raw images of the laboratory guest's two disks, by disk name."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DiskPair:
    """Both disks in the state of a guest that wrote, discarded and zeroed: once, and again a while later."""

    before: dict[str, Path]
    now: dict[str, Path]
