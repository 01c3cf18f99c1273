"""Taking a VM's members with its disks: looked at before the instant and after it. What did not change in between is of the instant."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seawall.agent.hypervisor.port import Hypervisor
from seawall.agent.hypervisor.xml import parse
from seawall.agent.members.looking import Look, NotTakable, look
from seawall.agent.members.names import DOMAIN
from seawall.agent.members.whereabouts import StateFile, whereabouts

MEMBER_NOT_AT_INSTANT = "MEMBER_NOT_AT_INSTANT"

Warnings = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Members:
    """What goes into the point beside the disks, by name, and what is to be said of it (REASON, message)."""

    files: Mapping[str, bytes]
    warnings: Warnings


class MemberTaking:
    """Made right before the snapshot begins; `taken` right after it."""

    def __init__(self, hypervisor: Hypervisor, vm_id: str, swtpm_dir: Path) -> None:
        """Raises HypervisorError. A file that cannot be read costs a warning on the point, not the backup."""
        self.domain_xml = hypervisor.domain_xml(vm_id)
        self._where = whereabouts(parse(hypervisor.live_xml(vm_id)), vm_id, swtpm_dir)
        self._before = {file.path: _looked(file) for file in self._where.files}

    def taken(self) -> Members:
        """The members, each as it was at the instant, or with a warning that this cannot be said."""
        files = {DOMAIN: self.domain_xml.encode()}
        warnings = list(self._where.warnings)
        for file in self._where.files:
            after = _looked(file)
            if isinstance(after, str):
                warnings.append(file.not_captured(after))
                continue
            files[file.member] = after.body
            if not after.whole or after != self._before[file.path]:
                message = f"{file.what} changed while the snapshot was taken: this point holds them as they were right after it."
                warnings.append((MEMBER_NOT_AT_INSTANT, message))
        return Members(files, tuple(warnings))


def _looked(file: StateFile) -> Look | str:
    """Or why not."""
    try:
        return look(file.path)
    except NotTakable as error:
        return str(error)
