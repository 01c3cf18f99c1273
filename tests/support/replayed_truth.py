"""What the guest's disks must be, byte for byte, after any of its operations: made without Seawall, from its first image.

Nothing that the guest writes is a free choice (deploy/lab/guest/layout.h): whoever repeats its operations on a copy has its disks, as long
as nobody tells it to trim.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.lab.guest_image import GuestImage
from deploy.lab.truth import judge_images


class ReplayedTruth:
    """One pair of raw images that is carried forward; begun again for an operation that lies before its own."""

    def __init__(self, image: GuestImage, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._image, self._directory = image, directory
        self._first = self._named("first")
        self._disks = self._named("now")
        self._seq = 0
        image.to_raw(self._first)
        self._begin()

    def assert_same(self, disks: Mapping[str, Path]) -> int:
        """The guest's own check on raw images of both disks, then each byte of them. Returns the newest operation in them."""
        seq = judge_images(self._image, dict(disks))
        for disk, truth in self.at(seq).items():
            compared = subprocess.run(["cmp", truth, disks[disk]], capture_output=True, text=True)
            assert compared.returncode == 0, f"{disk} after operation {seq}: {compared.stdout}{compared.stderr}"
        return seq

    def at(self, seq: int) -> dict[str, Path]:
        """Both disks as they are when that operation is done. Not to be changed."""
        if seq < self._seq:
            self._begin()
        said = self._image.tool_says("replay", self._disks, str(seq))
        assert "VERDICT ok" in said and f" seq={seq} " in said, said
        self._seq = seq
        return self._disks

    def _begin(self) -> None:
        for disk, path in self._first.items():
            subprocess.run(["cp", "--sparse=always", path, self._disks[disk]], check=True)
        self._seq = 0

    def _named(self, folder: str) -> dict[str, Path]:
        (self._directory / folder).mkdir()
        return {disk: self._directory / folder / f"{disk}.raw" for disk in ("vda", "vdb")}
