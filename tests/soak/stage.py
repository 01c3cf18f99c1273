"""Where rounds are played: one laboratory for many, its S3 server behind the fault proxy, two repositories, the command line."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from deploy.lab.answers import Run, parse_run
from deploy.lab.fault_proxy.control import FaultProxy
from deploy.lab.laboratory import OPERATOR_FILE, Laboratory, seawall_command
from deploy.lab.waiting import LabFailed, wait_for

from support.cli_command import Answer
from support.fault_fleet import TIMINGS

from .soak_image import SoakImage, build_soak_image

REPOSITORIES = ("soak", "second")
CALL_SECONDS = 30.0
ORDER_SECONDS = 120.0
END_SECONDS = 600.0
WATCH_SECONDS = 120.0
PATIENCE_SECONDS = 240.0
"""For what takes a second on a machine of one's own."""


@dataclass
class Stage:
    """The laboratory with everything served."""

    lab: Laboratory
    proxy: FaultProxy
    image: SoakImage

    def seawall(self, *words: str, timeout_seconds: float = CALL_SECONDS) -> Answer:
        """One command of an operator on the hub, to its end. One that takes too long has the code 124, as with `timeout`."""
        try:
            done = self.lab.hub.run(
                [seawall_command(), *words],
                timeout_seconds=timeout_seconds,
                env={"SEAWALL_CONFIG": OPERATOR_FILE},
                check=False,
            )
        except LabFailed as late:
            return Answer(124, "", str(late))
        return Answer(done.returncode, done.stdout, done.stderr)

    def shown(self, *words: str, timeout_seconds: float = ORDER_SECONDS) -> Any:
        """What a command that changes nothing says by --json, asked until it is answered. Raises LabFailed."""
        last = Answer(0, "", "")

        def answered() -> list[Any] | None:
            nonlocal last
            last = self.seawall(*words, "--json")
            return [last.json] if last.code == 0 else None

        what = f"an answer to {' '.join(words)}"
        return wait_for(what, answered, timeout_seconds, lambda: last.out + last.err, every_seconds=0.5)[0]

    def await_online(self) -> None:
        """Both hosts. Raises LabFailed."""

        def online() -> bool:
            return all(host["online"] for host in self.shown("host", "list")["hosts"])

        wait_for("both hosts to be online", online, PATIENCE_SECONDS, self.lab.logs, every_seconds=0.5)

    def await_known(self, vm: str) -> None:
        """Until the controller has heard of the VM. Raises LabFailed."""

        def known() -> bool:
            return vm in {one["name"] for one in self.shown("vm", "list")["vms"]}

        wait_for(f"{vm} to be known", known, PATIENCE_SECONDS, self.lab.logs, every_seconds=0.5)

    def runs_of(self, vm: str) -> list[str]:
        return [run["run_id"] for run in self.shown("run", "list", "--vm", vm, "--limit", "100")["runs"]]

    def order(self, vms: Sequence[str], *words: str) -> list[str]:
        """Ask until it is taken; the runs. One whose answer was lost is found among those of its VMs. Raises LabFailed."""
        before = {run for vm in vms for run in self.runs_of(vm)}
        last = Answer(0, "", "")

        def taken() -> list[str] | None:
            nonlocal last
            last = self.seawall(*words, "--json")
            if last.code == 0:
                answer = last.json
                return [run["run_id"] for run in answer.get("runs", [answer])]
            found = [run for vm in vms for run in self.runs_of(vm) if run not in before]
            return found if len(found) == len(vms) else None

        what = f"{' '.join(words)} to be taken"
        return wait_for(what, taken, ORDER_SECONDS, lambda: last.out + last.err, every_seconds=0.5)

    def run(self, run_id: str) -> Run:
        return parse_run(self.shown("run", "show", run_id))

    def await_over(self, run_id: str, timeout_seconds: float = END_SECONDS) -> Run | None:
        """None: it is not over in that time. One command that watches, as asking again and again takes a processor from the guests."""

        def over() -> Run | None:
            self.seawall("run", "watch", run_id, timeout_seconds=WATCH_SECONDS)
            return now if (now := self.run(run_id)).over else None

        try:
            return wait_for(run_id, over, timeout_seconds, every_seconds=0.4)
        except LabFailed:
            return None


@contextmanager
def stage(name: str = "") -> Iterator[Stage]:
    """Up and at peace. Raises LabFailed when something of the laboratory is left on the machine at the end."""
    timings = {**TIMINGS, "collect_grace_seconds": 0}
    with Laboratory(name or f"soak-{os.getpid()}", timings=timings) as lab:
        for hypervisor in lab.hypervisors.values():
            hypervisor.start()
        proxy = lab.start_fault_proxy()
        image = build_soak_image()
        lab.start_s3()
        lab.initialise_controller()
        lab.start_controller()
        for host in lab.hypervisors:
            lab.join(host)
            lab.start_agent(host)
        for repository in REPOSITORIES:
            lab.add_repository(repository, endpoint=proxy.endpoint)
        lab.await_hosts_online()
        yield Stage(lab, proxy, image)
    if left := lab.leftovers():
        raise LabFailed(f"the laboratory left {left}")
