"""What Seawall has on a hypervisor host at this moment, looked for from outside and by its own names alone."""

import re

from deploy.lab.hypervisor_host import HypervisorHost

_FOLDERS = (
    "/run/seawall/agent/captures",
    "/run/seawall/agent/held",
    "/run/seawall/agent/restores",
    "/run/seawall/agent/together",
    "/var/lib/seawall/scratch",
    "/var/lib/seawall/agent/restores",
)
_UNFINISHED = ("/var/lib/libvirt/images", "/var/lib/libvirt/images/*")
_COMMANDS = re.compile(r"seawall\.agent\.(worker|capture)|qemu-nbd.*/run/seawall")


def traces(hypervisor: HypervisorHost) -> list[str]:
    """Jobs, sockets, scratch files, lists, unfinished disks, workers, qemu-nbd: nothing of it may outlive its attempt.

    libvirt must answer; a VM that is off has no job.
    """
    found = [f"job of {name}" for name in hypervisor.domains() if _has_job(hypervisor, name)]
    found += _files(hypervisor)
    found += [line for line in _commands(hypervisor) if _COMMANDS.search(line)]
    return found


def checkpoints(hypervisor: HypervisorHost, vm: str) -> list[str]:
    """The attempts whose checkpoints the VM has."""
    names = hypervisor.virsh("checkpoint-list", vm, "--name").split()
    return [name.removeprefix("seawall-").partition("-")[2] for name in names if name.startswith("seawall-")]


def _has_job(hypervisor: HypervisorHost, name: str) -> bool:
    answer = hypervisor.host.run(["virsh", "-q", "-c", "qemu:///system", "domjobinfo", name], check=False).stdout
    return bool(answer.strip()) and "None" not in answer


def _files(hypervisor: HypervisorHost) -> list[str]:
    """Asked inside the host: /run is seen nowhere else."""
    here = [
        "sh",
        "-c",
        f"find {' '.join(_FOLDERS)} -type f -o -type s; ls -1d {' '.join(f'{one}/.seawall-*' for one in _UNFINISHED)}",
    ]
    return hypervisor.host.run(here, check=False).stdout.split()


def _commands(hypervisor: HypervisorHost) -> list[str]:
    return hypervisor.host.run(["ps", "-eo", "pid,args", "--no-headers"], check=False).stdout.splitlines()
