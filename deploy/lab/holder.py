"""Process 1 of a laboratory host: gives the host its own /etc, /var and /run, then collects the dead. Run by namespaces.py, never imported.

It runs already inside new mount, UTS, network and PID namespaces, as a bare script: only the standard library, no package around it.
Its end is the end of the host: the kernel then kills every process of the PID namespace and drops all mounts and links.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

ORIGINAL = Path("/run/machine")
OWN = {
    "etc": ("libvirt", "seawall", "hosts", "hostname"),
    "var/lib": ("libvirt", "seawall", "s3", "swtpm-localca"),
    "var/log": ("libvirt", "seawall", "swtpm"),
    "var/cache": ("libvirt",),
}
"""Directories of which a host has its own copy, and the names in them that it does not share with the machine."""


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def give_own_tree(host_dir: Path, place: str, own: tuple[str, ...]) -> None:
    """Cover /`place` by the host's directory, in which all but `own` leads to the machine's."""
    original, tree = ORIGINAL / place, host_dir / place
    original.mkdir(parents=True)
    mount("--rbind", f"/{place}", str(original))
    tree.mkdir(parents=True, exist_ok=True)
    for entry in os.scandir(original):
        if entry.name in own or (tree / entry.name).is_symlink():
            continue
        target = os.readlink(entry.path) if entry.is_symlink() else entry.path
        (tree / entry.name).symlink_to(target)
    mount("--bind", str(tree), f"/{place}")


def furnish(name: str, host_dir: Path, hosts_file: str) -> None:
    socket.sethostname(name)
    (host_dir / "etc").mkdir(parents=True, exist_ok=True)
    (host_dir / "etc/hostname").write_text(f"{name}\n")
    (host_dir / "etc/hosts").write_text(hosts_file)
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for place, own in OWN.items():
        give_own_tree(host_dir, place, own)
    for place, names in OWN.items():
        for directory in names:
            if directory not in ("hosts", "hostname"):
                Path("/", place, directory).mkdir(exist_ok=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def reap_for_ever() -> None:
    """Orphans of the host (QEMU is one) become children of process 1. Unreaped, libvirt would take the dead for living."""
    while True:
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()
        signal.sigwait({signal.SIGCHLD})


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    plan = json.loads(sys.argv[1])
    host_dir = Path(plan["host_dir"])
    furnish(plan["name"], host_dir, plan["hosts_file"])
    (host_dir / "ready").write_text("ready\n")
    reap_for_ever()


if __name__ == "__main__":
    main()
