"""Members of a point: the small files of a VM beside its disks, by the names under which a point holds them. Pure."""

from collections.abc import Mapping

DOMAIN = "domain.xml"
NVRAM = "nvram.fd"
"""The variables of the VM's UEFI firmware, byte for byte as its file."""

TPM_STATES: Mapping[str, str] = {"2.0": "tpm2-00.permall", "1.2": "tpm-00.permall"}
"""TPM version -> the file in which swtpm keeps all that outlives a power cut; the member has the file's name."""

TPM_FOLDERS: Mapping[str, str] = {"2.0": "tpm2", "1.2": "tpm1.2"}
"""TPM version -> libvirt's folder for that file, below `<swtpm folder>/<UUID of the VM>`."""

KNOWN = frozenset({DOMAIN, NVRAM, *TPM_STATES.values()})
"""What a restore puts somewhere. Other members are of a newer Seawall: they stay in the point, and `seawall rescue` writes them."""

LARGEST_BYTES = 4 * 1024 * 1024
"""A larger file is left out, and the point says so. A member is one chunk, and those of a VM with small disks have to fit into what the
controller grants a point beyond its disks (16 MiB). An UEFI flash of x86 has 4 MiB in all; ARM's of 64 MiB, mostly empty, stay out."""
