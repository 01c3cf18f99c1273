"""Hosts made of namespaces: mounts, host name, network and process ids of their own. When a host's process 1 ends, all of it is gone.

The bridge lies inside the hub's network namespace: nothing shows up among the machine's own links or mounts, no address range can
clash, and any number of laboratories run beside each other.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.lab.processes import ProcessName, Service, children, name_process, tail
from deploy.lab.waiting import LabFailed, wait_for

HUB = "hub"
ADDRESSES = {HUB: "10.77.0.1", "alpha": "10.77.0.11", "beta": "10.77.0.12"}
PREFIX_LENGTH = 24
BRIDGE = "seawall0"
NAMESPACES = ("mnt", "uts", "net", "pid")
_HOLDER = Path(__file__).with_name("holder.py")


class NamespaceHost:
    """One host. `directory` holds what it alone sees under /etc, /var/lib, /var/log and /var/cache."""

    def __init__(self, name: str, directory: Path, *, outlive_us: bool = False) -> None:
        self.name = name
        self.directory = directory
        self.log_directory = directory / "log"
        self._outlive_us = outlive_us
        self._entered: list[subprocess.Popen[bytes]] = []
        self.init: ProcessName | None = None

    @property
    def address(self) -> str:
        return ADDRESSES[self.name]

    def outside(self, path: str) -> Path:
        """Where a path of the host (below /etc, /var/lib, /var/log or /var/cache) lies on the machine."""
        return self.directory / path.removeprefix("/")

    def start(self) -> None:
        self.log_directory.mkdir(parents=True, exist_ok=True)
        ready = self.directory / "ready"
        ready.unlink(missing_ok=True)
        hosts_file = "127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in ADDRESSES.items())
        plan = json.dumps({"name": self.name, "host_dir": str(self.directory), "hosts_file": hosts_file})
        log = self.log_directory / "holder.log"
        unshare = [
            "unshare",
            "--mount",
            "--uts",
            "--net",
            "--pid",
            "--fork",
            "--mount-proc",
            "--propagation",
            "private",
        ]
        entry = self._spawn(
            [*self._mortal(), *unshare, "--kill-child", "/usr/bin/python3", "-I", str(_HOLDER), plan], log
        )
        wait_for(f"host {self.name}", lambda: ready.exists() or entry.poll() is not None, 20, lambda: tail(log))
        if entry.poll() is not None:
            raise LabFailed(f"host {self.name} did not come up\n{tail(log)}")
        self.init = name_process(children(entry.pid)[0])

    def _mortal(self) -> list[str]:
        """Dies with the process that started it, however that ends, unless the laboratory is to be kept."""
        return [] if self._outlive_us else ["setpriv", "--pdeathsig", "KILL"]

    def _spawn(self, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        with open(log, "ab") as output:
            entry = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=env
            )
        self._entered.append(entry)
        return entry

    def enter(self) -> list[str]:
        """The command that runs another command inside this host."""
        if self.init is None:
            raise LabFailed(f"host {self.name} is not running")
        # --root: this process may itself live in a chroot, out of which entering a mount namespace would lead
        flags = [f"--{flag}" for flag in ("mount", "uts", "net", "pid", "root")]
        return ["nsenter", "--target", str(self.init.pid), *flags, "--"]

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Nothing of the caller's settings comes along, but for the search path; this interpreter's commands come first in it."""
        path = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, "HOME": "/var/lib/seawall", "LANG": "C.UTF-8", "TERM": "dumb", **(extra or {})}

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_seconds: float = 60,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end inside the host. Raises LabFailed when it fails (and `check`) or takes too long."""
        entry = subprocess.Popen(
            [*self.enter(), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(env),
        )
        try:
            output, errors = entry.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired as exc:
            for child in children(entry.pid):
                name_process(child).kill()
            output, errors = entry.communicate()
            raise LabFailed(
                f"{self.name}: {' '.join(argv)} took more than {timeout_seconds} s\n{output}{errors}"
            ) from exc
        if check and entry.returncode != 0:
            raise LabFailed(f"{self.name}: {' '.join(argv)} ended with {entry.returncode}\n{output}{errors}")
        return subprocess.CompletedProcess(list(argv), entry.returncode, output, errors)

    def serve(self, name: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Service:
        """Start a long-running process inside the host; its output goes to a log of its name."""
        log = self.log_directory / f"{name}.log"
        return Service(f"{self.name}/{name}", self._spawn([*self.enter(), *argv], log, self.environment(env)), log)

    def wake(self) -> None:
        """Let the commands that entered go on: `nsenter` stops itself when what it runs is stopped, and does not see it go on."""
        for entry in self._entered:
            if entry.poll() is None:
                entry.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill the host: process 1, and by the kernel's hand all that runs in it."""
        if self.init is None:
            return
        gone, self.init = self.init, None
        self.wake()
        gone.kill()
        wait_for(f"the end of host {self.name}", lambda: not gone.alive(), 20)
        for entry in self._entered:
            entry.wait(10)
        self._entered.clear()

    def namespace_ids(self) -> dict[str, int]:
        """Inode numbers, by which leftovers are recognised."""
        if self.init is None:
            return {}
        return {kind: os.stat(f"/proc/{self.init.pid}/ns/{kind}").st_ino for kind in NAMESPACES}


def connect(hub: NamespaceHost, others: Sequence[NamespaceHost]) -> None:
    """A bridge in the hub and a cable from each other host to it."""
    _ip(hub, "link", "add", BRIDGE, "type", "bridge")
    _ip(hub, "address", "add", f"{hub.address}/{PREFIX_LENGTH}", "dev", BRIDGE)
    _ip(hub, "link", "set", BRIDGE, "up")
    for host in others:
        if host.init is None:
            raise LabFailed(f"host {host.name} is not running")
        cable = ["link", "add", f"to-{host.name}", "type", "veth", "peer", "name", "eth0", "netns", str(host.init.pid)]
        _ip(hub, *cable)
        _ip(hub, "link", "set", f"to-{host.name}", "master", BRIDGE, "up")
        _ip(host, "address", "add", f"{host.address}/{PREFIX_LENGTH}", "dev", "eth0")
        _ip(host, "link", "set", "eth0", "up")


def limit_upload(host: NamespaceHost, megabits_per_second: int) -> None:
    """Make the host's cable slow in the direction away from it; 0 makes it as fast as the machine again."""
    host.run(["tc", "qdisc", "del", "dev", "eth0", "root"], check=False)
    if megabits_per_second:
        bucket = ["tbf", "rate", f"{megabits_per_second}mbit", "burst", "256kbit", "latency", "50ms"]
        host.run(["tc", "qdisc", "add", "dev", "eth0", "root", *bucket])


def _ip(host: NamespaceHost, *words: str) -> None:
    """`ip` in the host's network, but among the machine's process ids: `netns PID` names a process of the machine."""
    if host.init is None:
        raise LabFailed(f"host {host.name} is not running")
    entered = ["nsenter", "--target", str(host.init.pid), "--net", "ip", *words]
    done = subprocess.run(entered, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabFailed(f"{host.name}: ip {' '.join(words)}: {done.stderr.strip()}")
