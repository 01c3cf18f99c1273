"""Backups of one guest through the fault proxy: what the tests in tests/system/test_faults_s3*.py ask and judge."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.lab.answers import Run
from deploy.lab.fault_proxy.control import FaultProxy
from deploy.lab.guest_vm import GuestVm, convert_to_raw
from deploy.lab.laboratory import Laboratory
from deploy.lab.waiting import wait_for

from seawall.agent.capture.names import attempt_of, repository_prefix
from support.replayed_truth import ReplayedTruth

END_SECONDS = 240.0
OBJECTS = {
    "pack": r"/v1/p/.*\.0$",
    "second copy of a meta pack": r"/v1/p/.*\.1$",
    "root": r"/v1/a/.*/root-",
    "refmap": r"/v1/a/.*/refmap-",
    "committed refmap": r"/v1/r/",
    "manifest": r"/v1/m/",
}
"""What a backup PUTs, in this order, by paths: the first four by the agent, the others by the controller."""


@dataclass
class FaultyBackups:
    """A fleet with its guest; `proxy` stands before the S3 server for the repository `name`."""

    lab: Laboratory
    guest: GuestVm
    truth: ReplayedTruth
    proxy: FaultProxy
    name: str
    directory: Path

    @property
    def repository_id(self) -> str:
        return str(self.lab.seawall_json("repo", "show", self.name)["repository_id"])

    def path(self, kind: str) -> str:
        """Of this repository's objects of that kind."""
        return f"/{self.name}{OBJECTS[kind]}"

    def start(self) -> Run:
        return self.lab.start_backup(self.guest.name, "--freeze", "try", repository=self.name)

    def shown(self, run: Run) -> Any:
        """`run show --json`."""
        return self.lab.seawall_json("run", "show", run.run_id)

    def said(self, run: Run) -> str:
        """`run show`, for people."""
        return self.lab.seawall("run", "show", run.run_id) or ""

    def await_said(self, run: Run, pattern: str, timeout_seconds: float) -> str:
        """Until `run show` matches. Raises LabFailed with what it said last."""
        last = ""

        def matches() -> bool:
            nonlocal last
            last = self.said(run)
            return re.search(pattern, last) is not None

        wait_for(f"run show to say {pattern}", matches, timeout_seconds, lambda: last + self.lab.logs(), 0.5)
        return last

    def ended(self, run: Run, timeout_seconds: float = END_SECONDS) -> Run:
        return self.lab.await_end(run.run_id, timeout_seconds)

    def points(self) -> list[str]:
        """Ids of the points in this repository that can be restored."""
        points = self.lab.seawall_json("point", "list", "--vm", self.guest.name)["points"]
        return [
            point["point_id"] for point in points if point["repository"] == self.name and point["state"] == "available"
        ]

    def judge(self, run: Run, *, attempts: int | None = None, parent: Run | None = None) -> None:
        """The guest writes; the run succeeded (in that many attempts); its point restores to good disks; nothing else stays."""
        assert run.succeeded, run.failure
        shown = self.shown(run)
        if attempts is not None:
            assert len(shown["attempts"]) == attempts, shown["attempts"]
        assert run.point_id in self.points()
        self.guest.await_writes(5)
        self.judge_point(run.point_id)
        self.judge_host(*(each for each in (run, parent) if each is not None))

    def judge_point(self, point_id: str) -> int:
        """Restored to files on the other host: every byte is what the guest had written. Its newest operation."""
        place = f"/var/lib/libvirt/images/judged-{self.name}-{point_id[:13]}"
        outside = self.lab.hosts["beta"].outside(place)
        outside.mkdir(exist_ok=True)
        restored = self.lab.restore(point_id, "--to", "beta", "--disk", "vda", "--disk", "vdb", "--directory", place)
        assert restored.succeeded, restored.failure
        disks = {}
        for disk, kind in (("vda", "qcow2"), ("vdb", "raw")):
            disks[disk] = self.directory / f"{point_id[:13]}-{disk}.raw"
            convert_to_raw(outside / f"{disk}.{kind}", kind, disks[disk])
            (outside / f"{disk}.{kind}").unlink()
        return self.truth.assert_same(disks)

    def judge_host(self, *kept: Run) -> None:
        """No job, no socket, no scratch; of this repository at most a checkpoint for each of these runs: the newest point's, its parent's.

        It bears the name of the attempt that began it, with which a later one may have gone on.
        """
        attempts = [{attempt["attempt_id"] for attempt in self.shown(each)["attempts"]} for each in kept]

        def clean() -> bool:
            return self._leftovers(attempts) == []

        wait_for("nothing to be left on the host", clean, 90, lambda: str(self._leftovers(attempts)))

    def _leftovers(self, kept: list[set[str]]) -> list[str]:
        found = [] if "None" in self.guest.hypervisor.virsh("domjobinfo", self.guest.name) else ["job"]
        for root in ("/run/seawall/agent/captures", "/var/lib/seawall/scratch"):
            found += [str(path) for path in self.guest.host.outside(root).rglob("*") if not path.is_dir()]
        names = self.guest.hypervisor.virsh("checkpoint-list", self.guest.name, "--name").split()
        ours = [name for name in names if name.startswith(repository_prefix(self.repository_id))]
        for attempts in kept:
            of_it = [name for name in ours if attempt_of(name) in attempts]
            ours = [name for name in ours if name not in of_it[:1]]
        return found + [f"checkpoint {name}" for name in ours]
