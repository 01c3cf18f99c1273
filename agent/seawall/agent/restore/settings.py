"""Settings of restores: one frozen value."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RestoreSettings:
    """Where a restore may put things on this host."""

    run_dir: Path = Path("/run/seawall/agent")
    """Sockets of qemu-nbd, in `restores/<attempt>`."""

    state_dir: Path = Path("/var/lib/seawall/agent")
    """The lists of what is unfinished, `restores/<attempt>.json`: they outlive a reboot, as the files do."""

    images_dir: Path = Path("/var/lib/libvirt/images")
    """Disks go here when the point's own paths cannot be used."""

    trusted_dirs: tuple[Path, ...] = (Path("/var/lib/libvirt/images"),)
    """Folders in which a point's own paths are used again. The point is hostile: elsewhere the operator must name the directory."""

    nvram_dir: Path = Path("/var/lib/libvirt/qemu/nvram")
    """Files of UEFI variables, `<VM>_VARS.fd`, as libvirt itself names them."""

    swtpm_dir: Path = Path("/var/lib/libvirt/swtpm")
    """Contents of emulated TPMs, in `<UUID>/tpm2`: libvirt looks nowhere else."""

    qemu_conf: Path = Path("/etc/libvirt/qemu.conf")
    """Says as whom libvirt starts swtpm."""

    console_dir: Path = Path("/var/log/libvirt")
    """Serial consoles that write to a file directly in here keep doing so; others become pseudo terminals."""
