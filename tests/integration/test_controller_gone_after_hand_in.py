"""A worker or host that is gone between hand-in and answer, while the store is away: the point waits, and holds no place meanwhile."""

import shutil
from collections.abc import Callable

import grpc
import pytest

from integration.test_controller_publishing import HandedIn, handed_in, prepared
from seawall.api.v1 import resources_pb2
from seawall.controller.admission.mirror import FleetMirror
from seawall.controller.records.runs import AttemptState
from seawall.controller.store.transaction import Transaction
from support.collecting import in_database
from support.controller_application import BRISK, Controller, reason_of, running

__all__ = ["handed_in", "prepared"]  # fixtures


def worker_fails(given: HandedIn) -> None:
    """The supervisor tells of a worker that was killed: it is told that the controller has the attempt, and cleans up."""
    died = resources_pb2.Failure(reason="WORKER_EXITED", message="killed")
    with pytest.raises(grpc.RpcError) as refused:
        given.agent.fail(given.request.attempt, died)
    assert reason_of(refused.value) == "FENCED"


def agent_restarts(given: HandedIn) -> None:
    given.agent.hello()


@pytest.mark.parametrize("goes", [worker_fails, agent_restarts])
def test_a_worker_that_is_gone_after_the_hand_in_holds_no_place(
    handed_in: HandedIn, goes: Callable[[HandedIn], None]
) -> None:
    refmaps = handed_in.bucket / "v1" / "r"
    shutil.rmtree(refmaps, ignore_errors=True)
    refmaps.write_bytes(b"in the way")  # the store does not take r/
    with running(handed_in.config, BRISK) as controller:
        handed_in.agent.connect()
        with pytest.raises(grpc.RpcError):
            handed_in.agent.stub.CompleteAttempt(handed_in.request, timeout=5)
        assert places(controller) == ([AttemptState.PUBLISHING], 1)
        goes(handed_in)
        assert places(controller) == ([AttemptState.PUBLISHING], 0)
        refmaps.unlink()
        controller.watch(handed_in.run_id, lambda run: run.state == resources_pb2.RUN_STATE_SUCCEEDED)


def places(controller: Controller) -> tuple[list[AttemptState], int]:
    """(states of the live attempts, how many places they hold)."""

    def closure(transaction: Transaction) -> tuple[list[AttemptState], int]:
        sight = FleetMirror().look(transaction, 1)
        return [attempt.state for attempt in sight.attempts], len(list(sight.facts.live))

    return in_database(controller, closure)
