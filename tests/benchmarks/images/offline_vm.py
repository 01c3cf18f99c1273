"""A VM that writes nothing: started paused, so that its disk is what the image is. One disk, `vda`."""

from pathlib import Path

from .fleet import Fleet
from .places import DISKS

DISK = "vda"

_DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='{format}' discard='unmap'/>
      <source file='{path}'/><target dev='vda' bus='virtio'/></disk>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""


class OfflineVm:
    """`format`: raw or qcow2. The disk's path stays; what lies there changes while the VM is off."""

    def __init__(self, fleet: Fleet, name: str, format: str = "raw") -> None:
        self.name = name
        self.disk = DISKS / f"{name}.{format}"
        self._fleet = fleet
        self._format = format
        self._defined = False

    def present(self, image: Path) -> None:
        """From now on the VM has this image (by a hard link) as its disk."""
        if self._defined:
            self.turn_off()
        DISKS.mkdir(parents=True, exist_ok=True)
        coming = self.disk.with_name(f".{self.disk.name}")
        coming.unlink(missing_ok=True)
        coming.hardlink_to(image)
        coming.replace(self.disk)
        self.turn_on()

    def turn_on(self) -> None:
        if not self._defined:
            self._define()
        self._fleet.hypervisor.virsh("start", "--paused", self.name)
        self._fleet.lab.await_vm(self.name, self._fleet.host.name)

    def turn_off(self) -> None:
        self._fleet.hypervisor.virsh("destroy", self.name)

    def _define(self) -> None:
        text = _DOMAIN.format(name=self.name, format=self._format, path=self.disk)
        definition = self._fleet.host.outside(f"/var/lib/libvirt/{self.name}.xml")
        definition.write_text(text)
        self._fleet.hypervisor.virsh("define", f"/var/lib/libvirt/{self.name}.xml")
        self._defined = True
