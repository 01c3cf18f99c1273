"""A whole fleet on one machine: hub (S3 server, controller), alpha and beta (libvirt and an agent each).

Every part starts, stops and is killed alone.

    with Laboratory("mine") as lab:      # kernel namespaces only
        lab.start()                      # all services, enrolled, a repository added
        lab.seawall_json("vm", "list")

Its directory is build/lab/NAME; `leftovers()` says what a stop left behind.
"""

import itertools
import json
import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from deploy.lab import record as records
from deploy.lab.answers import Point, Run, parse_point, parse_run
from deploy.lab.fault_proxy.control import FaultProxy
from deploy.lab.guest_image import GuestImage, build_guest, find_kernel
from deploy.lab.hypervisor_host import HypervisorHost
from deploy.lab.namespaces import ADDRESSES, HUB, NamespaceHost, connect
from deploy.lab.processes import Service, now_ticks
from deploy.lab.waiting import LabFailed, wait_for

PROJECT = Path(__file__).parents[2]
BUILD = PROJECT / "build"
BASE = BUILD / "lab"
HYPERVISORS = ("alpha", "beta")
REPOSITORY = "main"

_S3_FIRST_PORT = 20_000
_S3_PORTS = 8
_S3_PLACES = 1024
"""The server names sockets in the machine's /tmp after its ports: no two laboratories, of one process or of two, may share them."""
_made_here = itertools.count()
_BUCKET = "seawall"
_FAULT_PROXY_PORT = 9000
_CONTROLLER_FILE = "/etc/seawall/controller.toml"
OPERATOR_FILE = "/etc/seawall/operator.toml"
_RECOVERY_FILE = "/etc/seawall/recovery-key"


class Laboratory:
    """`keep`: lives on when this process ends, until somebody ends it by `deploy.lab.record.end`.

    `timings`: the controller's, in seconds, where its defaults are too long to be waited for.
    """

    def __init__(
        self, name: str, *, keep: bool = False, base: Path = BASE, timings: Mapping[str, float] | None = None
    ) -> None:
        self.directory = base / name
        self.swept = records.sweep(base)
        self._record = records.claim(self.directory, keep)
        self.hosts = {host: NamespaceHost(host, self.directory / host, outlive_us=keep) for host in ADDRESSES}
        self.hub = self.hosts[HUB]
        self.hypervisors = {name: HypervisorHost(self.hosts[name]) for name in HYPERVISORS}
        self.services: dict[str, Service] = {}
        self._timings = dict(timings or {})
        place = (os.getpid() + next(_made_here) * _S3_PLACES // 2) % _S3_PLACES
        self._s3_port = _S3_FIRST_PORT + place * _S3_PORTS
        self._s3_endpoint = f"http://{self.hub.address}:{self._s3_port}"
        self._stopped_ticks = sys.maxsize
        self._keys = {"AWS_ACCESS_KEY_ID": "laboratory", "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(24)}

    @property
    def bucket_keys(self) -> Mapping[str, str]:
        """The environment of commands that reach the bucket by themselves."""
        return self._keys

    def __enter__(self) -> "Laboratory":
        try:
            self.start_hosts()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- all at once

    def start(self) -> None:
        """Everything on the hosts."""
        for hypervisor in self.hypervisors.values():
            hypervisor.start()
        self.start_services()

    def start_services(self) -> None:
        """S3, controller, both hosts enrolled and served, the repository; the hypervisors run already."""
        self.start_s3()
        self.initialise_controller()
        self.start_controller()
        for name in HYPERVISORS:
            self.join(name)
            self.start_agent(name)
        self.add_repository()
        self.await_hosts_online()

    def start_hosts(self) -> None:
        """Only the namespaces and the network between them."""
        for host in self.hosts.values():
            host.start()
            self._write_down()
        connect(self.hub, [self.hosts[name] for name in HYPERVISORS])

    def _write_down(self) -> None:
        up = [
            records.HostRecord(host.name, host.init, host.namespace_ids())
            for host in self.hosts.values()
            if host.init is not None
        ]
        self._record = records.Record(self._record.directory, self._record.owner, self._record.keep, up)
        self._record.write()

    def stop(self, *, remove: bool = True) -> None:
        """Services politely, then the hosts with all that is in them, then the directory (unless somebody wants the logs)."""
        for name in reversed(list(self.services)):
            self.services.pop(name).stop()
        for hypervisor in self.hypervisors.values():
            hypervisor.stop()
        for host in self.hosts.values():
            host.stop()
        self._stopped_ticks = now_ticks()
        if remove:
            records.end(self._record)

    def leftovers(self) -> list[str]:
        return records.leftovers(self._record, self._stopped_ticks)

    # -- part by part; the name in `services` is what kill and stop take

    def start_s3(self) -> None:
        port = str(self._s3_port)
        words = [sys.executable, "-m", "deploy.lab.s3_process", "/var/lib/s3", self.hub.address, port, _BUCKET]
        serving = self.hub.outside("/var/lib/s3/serving")
        serving.unlink(missing_ok=True)
        self._serve(self.hub, "s3", words, {**self._keys, "PYTHONPATH": str(PROJECT)})
        self._await("s3", serving.exists, 60)

    def start_fault_proxy(self) -> FaultProxy:
        """Before the S3 server, as the service `faults`; the one that runs already, if any.

        What goes through it: a repository that is added with `endpoint=proxy.endpoint`.
        """
        proxy = FaultProxy(self.hub.outside("/var/lib/s3/faults"), f"http://{self.hub.address}:{_FAULT_PROXY_PORT}")
        if "faults" in self.services:
            return proxy
        words = [self.hub.address, str(_FAULT_PROXY_PORT), self.hub.address, str(self._s3_port), "/var/lib/s3/faults"]
        listening = self.hub.outside("/var/lib/s3/faults.port")
        listening.parent.mkdir(parents=True, exist_ok=True)
        listening.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "deploy.lab.fault_proxy", *words]
        self._serve(self.hub, "faults", argv, {"PYTHONPATH": str(PROJECT)})
        self._await("faults", listening.exists, 30)
        return proxy

    def initialise_controller(self) -> None:
        if self._timings:
            table = "".join(f"{name} = {seconds}\n" for name, seconds in self._timings.items())
            self.hub.outside(_CONTROLLER_FILE).write_text(f"[timings]\n{table}")
        self.seawall("controller", "init", *self._listening(), "--config-out", OPERATOR_FILE)

    def start_controller(self) -> None:
        self._serve(self.hub, "controller", [seawall_command(), "controller", "run", *self._listening()])
        self._await("controller", lambda: self.seawall("status", "--json", check=False) is not None, 30)

    def _listening(self) -> list[str]:
        operators, agents = f"{self.hub.address}:7440", f"{self.hub.address}:7441"
        named = ["--agent-address", agents, "--enrol-address", operators, "--name", self.hub.address]
        return ["--operator-listen", operators, "--agent-listen", agents, *named]

    def join(self, name: str) -> None:
        token = self.seawall_json("host", "token")["token"]
        self.hosts[name].run([seawall_command(), "agent", "join", token])

    def start_agent(self, name: str) -> None:
        self._serve(self.hosts[name], f"agent-{name}", [seawall_command(), "agent", "run"])

    def add_repository(self, name: str = REPOSITORY, *, endpoint: str = "") -> None:
        """In the one bucket, under a prefix of the same name. `endpoint`: the fault proxy's, else the S3 server itself."""
        recovery_key = f"{_RECOVERY_FILE}-{name}"
        place = [f"s3://{_BUCKET}/{name}", "--endpoint", endpoint or self._s3_endpoint, "--recovery-key", recovery_key]
        self.seawall("repo", "add", name, *place, env=self._keys)

    def await_hosts_online(self) -> None:
        def online() -> bool:
            return {host["name"] for host in self.seawall_json("host", "list")["hosts"] if host["online"]} >= set(
                HYPERVISORS
            )

        wait_for("both hosts to be online", online, 60, self.logs, every_seconds=0.3)

    def await_vm(self, vm: str, host: str) -> None:
        """Until the controller has heard of the VM from that host's agent."""

        def known() -> bool:
            return any(
                each["name"] == vm and each["host_name"] == host for each in self.seawall_json("vm", "list")["vms"]
            )

        wait_for(f"{vm} to be known on {host}", known, 60, self.logs, every_seconds=0.3)

    def stop_service(self, name: str) -> int:
        """SIGTERM and its exit code."""
        return self.services.pop(name).stop()

    def kill_service(self, name: str) -> None:
        """kill -9, as a crash would."""
        self.services.pop(name).kill()

    def _serve(self, host: NamespaceHost, name: str, argv: list[str], env: Mapping[str, str] | None = None) -> None:
        self.services[name] = host.serve(name, argv, env=env)

    def _await(self, name: str, ready: Any, timeout_seconds: float) -> None:
        service = self.services[name]

        def attempt() -> bool:
            if not service.running():
                raise LabFailed(f"{service.name} ended by itself\n{service.log_tail()}")
            return bool(ready())

        wait_for(f"{service.name} to serve", attempt, timeout_seconds, service.log_tail, every_seconds=0.1)

    def logs(self) -> str:
        """The end of every service's log."""
        return "\n".join(service.log_tail() for service in list(self.services.values()))

    def save_logs(self, target: Path) -> None:
        """Copy the logs of services, libvirt, VMs and consoles out of the laboratory's directory, before it is removed."""
        for name, host in self.hosts.items():
            for root in (host.log_directory, host.outside("/var/log/libvirt"), host.outside("/var/lib/seawall/agent")):
                for path in root.rglob("*"):
                    if path.is_file() and not path.is_symlink() and path.suffix in (".log", ".console"):
                        (target / name).mkdir(parents=True, exist_ok=True)
                        shutil.copy(path, target / name / path.name)

    # -- the public command line, as an operator on the hub uses it

    def seawall(
        self, *words: str, timeout_seconds: float = 120, env: Mapping[str, str] | None = None, check: bool = True
    ) -> str | None:
        """Standard output. A command that fails raises LabFailed with the services' logs; with `check=False` it gives None."""
        operator = {"SEAWALL_CONFIG": OPERATOR_FILE, **(env or {})}
        try:
            return self.hub.run([seawall_command(), *words], timeout_seconds=timeout_seconds, env=operator).stdout
        except LabFailed as exc:
            if not check:
                return None
            raise LabFailed(f"{exc}\n{self.logs()}") from exc

    def seawall_json(self, *words: str, timeout_seconds: float = 120) -> Any:
        return json.loads(self.seawall(*words, "--json", timeout_seconds=timeout_seconds) or "")

    def start_backup(self, vm: str, *words: str, repository: str = REPOSITORY) -> Run:
        """Ask for a backup, `words` being its options, and do not wait for it."""
        return parse_run(self.seawall_json("backup", vm, "--repo", repository, *words))

    def run_of(self, run_id: str) -> Run:
        return parse_run(self.seawall_json("run", "show", run_id))

    def await_end(self, run_id: str, timeout_seconds: float) -> Run:
        """Of a run, whatever becomes of it. One command that watches: to ask again and again takes a processor from what is measured.

        Raises LabFailed when it is not over in that time.
        """

        def over() -> Run | None:
            self.seawall("run", "watch", run_id, timeout_seconds=timeout_seconds, check=False)
            return now if (now := self.run_of(run_id)).over else None

        return wait_for(f"the end of run {run_id}", over, timeout_seconds, self.logs, every_seconds=0.3)

    def point_of(self, point_id: str) -> Point:
        return parse_point(self.seawall_json("point", "show", point_id))

    def restore(self, point_id: str, *words: str, timeout_seconds: float = 180) -> Run:
        """A restore to its end, `words` being its options."""
        return parse_run(self.seawall_json("restore", point_id, *words, "--wait", timeout_seconds=timeout_seconds))

    # -- guests

    def guest_image(self) -> GuestImage:
        """Built once per checkout, then shared by all laboratories."""
        return build_guest(BUILD / "guest", find_kernel(BUILD / "kernel"))


def seawall_command() -> str:
    """The `seawall` beside this interpreter. Raises LabFailed when the project is not installed there."""
    command = Path(sys.executable).with_name("seawall")
    if not command.exists():
        raise LabFailed(f"{command} does not exist: run `make setup`")
    return str(command)
