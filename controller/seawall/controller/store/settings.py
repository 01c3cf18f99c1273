"""The store's port: what operators set for single VMs."""

from collections.abc import Sequence
from typing import Protocol

from seawall.controller.records.settings import VmSettings


class Settings(Protocol):
    """What was said about how single VMs are captured."""

    def of_vm(self, vm_id: str) -> VmSettings:
        """NO_SETTINGS where nothing was said."""

    def of_vms(self, vm_ids: Sequence[str]) -> dict[str, VmSettings]:
        """Only those of which something was said."""

    def said_us(self) -> dict[str, int]:
        """When something was last said of each of them."""

    def ignored(self) -> frozenset[str]:
        """Ids of VMs that no policy need protect."""

    def save(self, vm_id: str, settings: VmSettings, now_us: int) -> None: ...
