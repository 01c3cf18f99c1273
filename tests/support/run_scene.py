"""A run with everything around it: a controller on loopback, an operator, a scripted host with a VM, and the order to back it up."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from seawall.api.v1 import agent_pb2, resources_pb2
from seawall.controller.repositories.catalogue import OpenStore
from seawall.controller.timings import Timings
from seawall.repository.store.locate import open_store
from support.controller_agent import ScriptedAgent, enrolled
from support.controller_application import BRISK, Controller, configured, running
from support.memory_disks import ModelDisk
from support.operator_words import Operator

SIZE = 1 << 20
FRAIL = replace(BRISK, scheduler_interval_seconds=0.1, lease_ttl_seconds=1.0, reattach_grace_seconds=2.0)
"""Hosts are lost after a second of silence, given up two seconds later."""


class Scene:
    """A controller, an operator, a host with a VM, and an order to back it up."""

    def __init__(self, controller: Controller, alpha: ScriptedAgent) -> None:
        self.controller = controller
        self.alpha = alpha
        self.run_id = controller.start_backup("db-1").run_id
        self.operator = Operator(controller.config.operator_toml)

    def run(self) -> resources_pb2.Run:
        return self.controller.run(self.run_id)

    def watch(self, until: Callable[[resources_pb2.Run], bool]) -> resources_pb2.Run:
        """The first state of it that fits; a busy machine is given a minute."""
        give_up = time.monotonic() + 60
        while not until(run := self.run()):
            assert time.monotonic() < give_up, run
            time.sleep(0.05)
        return run

    def cancel(self) -> None:
        answer = self.operator("run", "cancel", self.run_id)
        assert answer.code == 0, answer.err

    def canceled(self) -> resources_pb2.Run:
        return self.watch(lambda run: run.state == resources_pb2.RUN_STATE_CANCELED)

    def accepted(self) -> agent_pb2.AttemptRef:
        attempt = self.alpha.next_assignment().attempt
        self.alpha.accept(attempt)
        return attempt

    def report(self, attempt: agent_pb2.AttemptRef, seq: int = 1) -> agent_pb2.HeartbeatResponse:
        transferring = resources_pb2.ATTEMPT_STATE_TRANSFERRING
        return self.alpha.beat(
            resources_pb2.AttemptProgress(attempt_id=attempt.attempt_id, seq=seq, state=transferring)
        )

    def written(self, attempt: agent_pb2.AttemptRef) -> agent_pb2.CompleteAttemptRequest:
        """Everything up to the hand-in of an attempt that nobody took yet."""
        grant = self.alpha.accept(attempt).backup
        disk = ModelDisk(SIZE)
        disk.write(0, random.Random(1).randbytes(SIZE))
        return self.alpha.hand_in(attempt, self.alpha.write(attempt, grant, {"vda": disk.source()}))

    def stop(self, attempt: agent_pb2.AttemptRef) -> None:
        """As an agent does that was told to."""
        told = resources_pb2.Failure(reason="CANCELED", message="stopped")
        self.alpha.fail(attempt, told, canceled=True)


@contextmanager
def a_scene(place: Path, timings: Timings = BRISK, opened: OpenStore = open_store) -> Iterator[Scene]:
    with running(configured(place / "state"), timings, opened) as controller:
        controller.add_folder(place / "bucket")
        alpha = enrolled(controller, "alpha")
        alpha.inventory({"vda": SIZE})
        yield Scene(controller, alpha)
