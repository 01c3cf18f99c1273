"""What `seawall up` says when all serves: one value, as a document for scripts or as text for people."""

import shlex
from dataclasses import dataclass
from typing import Any

from seawall.api.v1 import resources_pb2
from seawall.cli.output import Output
from seawall.cli.text import count
from seawall.cli.up.places import Places
from seawall.cli.up.settings import UpSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """All that is up."""

    places: Places
    settings: UpSettings
    repository: resources_pb2.Repository
    host: resources_pb2.Host
    hypervisor: str
    """Its version; empty: libvirt does not answer."""
    controller_pid: int
    agent_pid: int
    first: bool
    """The controller was made by this start."""
    sheet_here: bool
    """The recovery sheet still lies on this machine."""

    @property
    def in_folder(self) -> bool:
        return self.repository.url.startswith("file:")

    @property
    def warnings(self) -> list[str]:
        """What an operator should mend; sentences."""
        found = [*self.repository.capabilities.warnings]
        if self.repository.trouble:
            found.append(f"The repository cannot be used now: {self.repository.trouble}")
        if not self.hypervisor:
            found.append(
                f"libvirt does not answer at {self.settings.hypervisor}, so no VM is known yet; it is asked again all the time."
            )
        if self.in_folder:
            found.append(
                "The repository is a folder of this machine: whatever destroys the machine may destroy its backups."
            )
        if self.sheet_here:
            found.append(
                f"The recovery sheet lies on this machine: print or copy {self.places.recovery_sheet}, keep it elsewhere, delete it here."
            )
        return found


def document(ready: Ready) -> dict[str, Any]:
    """For --json."""
    places, settings = ready.places, ready.settings
    return {
        "first_start": ready.first,
        "state_dir": str(places.state_dir),
        "operator_file": str(places.operator_file),
        "address": settings.operator_address,
        "agent_address": settings.agent_address,
        "join_address": f"{settings.told_host}:{settings.operator_port}" if settings.name else None,
        "repository": {"name": ready.repository.name, "url": ready.repository.url, "same_machine": ready.in_folder},
        "recovery_sheet": str(places.recovery_sheet),
        "recovery_sheet_here": ready.sheet_here,
        "host": {"name": ready.host.name, "host_id": ready.host.host_id, "vm_count": ready.host.vm_count},
        "hypervisor": ready.hypervisor or None,
        "pids": {"controller": ready.controller_pid, "agent": ready.agent_pid},
        "logs": {child: str(places.log_of(child)) for child in ("controller", "agent")},
        "warnings": ready.warnings,
    }


def show(output: Output, ready: Ready) -> None:
    """For people."""
    places, settings = ready.places, ready.settings
    output.line("Seawall is up." if ready.first else "Seawall is up again.", style="bold")
    output.table(
        ("", ""),
        (
            (
                "Controller",
                f"{settings.operator_address}, process {ready.controller_pid}, log {places.log_of('controller')}",
            ),
            ("Agent", f"{ready.host.name}, process {ready.agent_pid}, log {places.log_of('agent')}"),
            ("Hypervisor", f"{ready.hypervisor or 'silent'}, {count(ready.host.vm_count, 'VM')}"),
            ("Repository", f"{ready.repository.name}, {ready.repository.url}"),
        ),
        "",
    )
    for warning in ready.warnings:
        output.line(f"warning   {warning}", style="yellow")
    output.line("\nIn another terminal:" if places.is_default else "\nIn another terminal, after")
    if not places.is_default:
        output.line(f"  export SEAWALL_CONFIG={shlex.quote(str(places.operator_file))}")
    output.line("  seawall vm list\n  seawall backup VM --wait\n  seawall point list\n  seawall status")
    output.line(_further_hosts(ready))
    output.note("Ctrl-C ends it, running backups too; `seawall up` goes on with the same controller and repository.")


def _further_hosts(ready: Ready) -> str:
    if not ready.settings.name:
        return "Only this machine is served. For further hosts, start it with --name and the name or address that they know it by."
    text = "Further hosts: `seawall host token` here, `seawall agent join TOKEN` and `seawall agent run` there."
    if ready.in_folder:
        text += f" They must mount {ready.repository.url.removeprefix('file://')} at the same path."
    return text
