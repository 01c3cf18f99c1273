"""What the fault tests do with their laboratory, and what must hold after every fault. Its fixtures are in fault_fixtures.py."""

import re
import subprocess
from pathlib import Path
from typing import Any

from deploy.lab.answers import Run, parse_run
from deploy.lab.fault_proxy.control import ActiveRule, FaultProxy
from deploy.lab.fault_proxy.rules import Hold
from deploy.lab.guest_vm import GuestVm, convert_to_raw
from deploy.lab.laboratory import Laboratory
from deploy.lab.traces import checkpoints, traces
from deploy.lab.truth import WitnessedPoint, compare_point
from deploy.lab.victims import QEMU, Scene
from deploy.lab.waiting import wait_for

from support.replayed_truth import ReplayedTruth

TIMINGS = {
    "heartbeat_seconds": 1,
    "lease_ttl_seconds": 8,
    "poll_wait_seconds": 5,
    "assigned_seconds": 30,
    "preparing_seconds": 60,
    "no_progress_seconds": 20,
    "reattach_grace_seconds": 6,
    "failover_grace_seconds": 3,
    "retry_seconds": 2,
    "scheduler_interval_seconds": 1,
}
"""Deadlines that a test can outwait. A run held still on purpose must be let go before them."""

REPOSITORY = "faulty"
"""The one behind the fault proxy."""

FREEZE_SECONDS = 10
"""The longest that a guest may be frozen."""

GENERIC = ("", "INTERNAL_ERROR", "AGENT_ERROR", "REPOSITORY_ERROR", "UNKNOWN")
END_SECONDS = 300
_TICK = re.compile(r"SEAWALL-GUEST-TICK seq=(\d+)")


class FaultFleet:
    """The laboratory, its fault proxy, its one guest, and what must hold after every fault."""

    def __init__(self, lab: Laboratory, proxy: FaultProxy, truth: ReplayedTruth) -> None:
        self.lab, self.proxy, self._truth = lab, proxy, truth
        self.guest = GuestVm("guest", lab.hypervisors["alpha"])
        self._ticks = 0
        self._asked_at: dict[str, int] = {}

    def scene(self, host: str = "alpha") -> Scene:
        return Scene(self.lab, host, self.guest)

    def hold(self, method: str, objects: str, *, skip: int = 0, answered: bool = False) -> ActiveRule:
        """Requests to objects of one class ("p", "m", ...) wait, or their answers do, and the run with them."""
        return self.proxy.rule(Hold(answered), method=method, path=rf"/{REPOSITORY}/v1/{objects}/", skip=skip)

    def back_up(self, *words: str, repository: str = REPOSITORY) -> Run:
        """Begin one. What the guest has written by now is in its point."""
        seq = self.guest.seq()
        run = self.lab.start_backup(self.guest.name, *words, repository=repository)
        self._asked_at[run.run_id] = seq
        return run

    def begin(self) -> None:
        """Before a test: everything is at peace, and the guest's report so far is not this test's."""
        self.settle()
        self._ticks = len(_TICK.findall(self._console()))

    def trust_again(self, host: str) -> None:
        """As an operator who mended it: after five failures in a row nobody is sent there for a minute or more."""
        self.lab.seawall("host", "uncordon", host)

    def settle(self) -> None:
        """Wait until hosts are online and nothing of an earlier test goes on. A guest that a failed test left off fails no other one."""
        self.proxy.clear()
        self.lab.await_hosts_online()
        if self.guest.state() == "shut off":
            QEMU.revive(self.scene())
        self.lab.await_vm(self.guest.name, "alpha")

    def run(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.lab.seawall_json("run", "show", run_id)
        return found

    def await_end(self, run_id: str, timeout_seconds: float = END_SECONDS) -> Run:
        return self.lab.await_end(run_id, timeout_seconds)

    def reasons(self, run_id: str) -> list[str]:
        """Why its attempts failed; "" for one that did not. Each failure must tell the operator something.

        Attempts that the host had no hand free for are not counted, as the controller does not count them.
        """
        found = []
        for attempt in self.run(run_id)["attempts"]:
            if attempt["state"] == "expired":
                continue
            failure = attempt["failure"] or {}
            if failure:
                assert_tells(failure)
            found.append(failure.get("reason", ""))
        return found

    # -- what must hold whatever happened

    def await_clean(self, *hosts: str, timeout_seconds: float = 90) -> None:
        """Nothing of an attempt is left, and only attempts that made points have checkpoints."""

        def left() -> list[str]:
            return [
                f"{host}: {trace}"
                for host in hosts or ("alpha", "beta")
                for trace in traces(self.lab.hypervisors[host])
            ]

        def clean() -> bool:
            return not left() and not self.strange_checkpoints()

        wait_for(
            "nothing to be left",
            clean,
            timeout_seconds,
            lambda: f"{left()} {self.strange_checkpoints()}\n{self.lab.logs()}",
            every_seconds=0.5,
        )

    def strange_checkpoints(self) -> list[str]:
        """Checkpoints of the guest whose run made no point, and a run's second one: its attempts may go on with each other's."""
        there = checkpoints(self.guest.hypervisor, self.guest.name)
        if not there:
            return []
        runs = self.lab.seawall_json("run", "list", "--limit", "500")["runs"]
        good = [run for run in runs if any(one["state"] == "succeeded" for one in run["attempts"])]
        run_of = {one["attempt_id"]: run["run_id"] for run in good for one in run["attempts"]}
        seen = [run_of.get(one, "") for one in there]
        return [one for at, one in enumerate(there) if not seen[at] or seen[at] in seen[:at]]

    def assert_guest_never_stood(self, frozen_seconds: float = FREEZE_SECONDS) -> None:
        """It writes now, no write of it failed, and it was never frozen for longer than it may be."""
        self.guest.await_writes(3)
        text = self._console()
        assert "VERDICT bad" not in text, self.guest.console_tail()
        assert longest_pause_seconds(text, self._ticks) <= frozen_seconds, self.guest.console_tail()

    def assert_unharmed(self, run: Run, directory: Path) -> None:
        """All of it: nothing is left, the guest never stood, no run has a point that failed, and the run's point is sound."""
        self.await_clean()
        self.assert_guest_never_stood()
        self.assert_points_are_of_good_runs()
        self.judge(run, directory)

    def assert_points_are_of_good_runs(self) -> None:
        """One each, and none of a run that failed."""
        runs = self.lab.seawall_json("run", "list", "--limit", "500")["runs"]
        good = sorted(run["point_id"] for run in runs if run["kind"] == "backup" and parse_run(run).succeeded)
        points = self.lab.seawall_json("point", "list", "--limit", "500")["points"]
        assert sorted(point["point_id"] for point in points) == good

    def judge(self, run: Run, directory: Path, since: int | None = None) -> None:
        """Restore the run's point to files: each byte is what the guest had written, and nothing that it wrote before is missing.

        `since`: its newest operation when the run was asked for, where another guest than ours was backed up.
        """
        where = f"/var/lib/libvirt/images/judged-{run.point_id}"
        outside = self.lab.hosts["beta"].outside(where)
        outside.mkdir()
        restored = self.lab.restore(
            run.point_id, "--to", "beta", "--disk", "vda", "--disk", "vdb", "--directory", where
        )
        assert restored.succeeded, restored.failure
        disks = {"vda": directory / "vda.raw", "vdb": directory / "vdb.raw"}
        for disk, kind in (("vda", "qcow2"), ("vdb", "raw")):
            convert_to_raw(outside / f"{disk}.{kind}", kind, disks[disk])
        assert self._truth.assert_same(disks) >= (self._asked_at[run.run_id] if since is None else since)
        for path in (*outside.iterdir(), *disks.values()):
            path.unlink()
        outside.rmdir()

    def differences(self, point: WitnessedPoint) -> dict[str, str]:
        return compare_point(self.lab, "beta", point)

    def _console(self) -> str:
        return self.guest.console.read_text(errors="replace")


def assert_tells(failure: dict[str, Any]) -> None:
    """A reason that stands for something, a sentence, and what to do next."""
    assert failure["reason"] not in GENERIC, failure
    assert len(failure["message"]) > 10 and failure["next_step"], failure


def longest_pause_seconds(console: str, since_tick: int) -> float:
    """The longest that the guest spoke (four times a second) without having written anything new."""
    longest, now, last = 0, 0, ""
    for seq in _TICK.findall(console)[since_tick:]:
        now = now + 1 if seq == last else 0
        longest, last = max(longest, now), seq
    return longest / 4


def same_bytes(truth: Path, disk: Path, kind: str) -> bool:
    """Whether the disk, as a guest would read it, is the raw image `truth`."""
    plain = truth.with_suffix(".compared")
    convert_to_raw(disk, kind, plain)
    compared = subprocess.run(["cmp", str(truth), str(plain)], capture_output=True)
    plain.unlink()
    return compared.returncode == 0
