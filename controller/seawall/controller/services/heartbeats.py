"""Heartbeats of many hosts in one transaction: leases renewed, reports taken, answers for each. No wire types here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from seawall.controller.admission.breakers import Proofs
from seawall.controller.admission.proofs import proof_of
from seawall.controller.admission.shares import told
from seawall.controller.errors import ControllerError, FailedPrecondition
from seawall.controller.records.runs import Progress
from seawall.controller.runs.events import Moment, Reported
from seawall.controller.runs.instructions import Instruction
from seawall.controller.runs.progress import further
from seawall.controller.scheduler.executions import Change, of_attempts

ANSWERS = (Instruction.ANSWER_FORGET, Instruction.ANSWER_CANCEL)
MOST = 200
"""In one transaction: other writers wait for it."""


class Traffic(NamedTuple):
    """What the host's workers would use of the network to the stores, and what they do; bytes per second."""

    demand: int = 0
    rate: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """One heartbeat. `reports`: attempt id -> its progress."""

    agent_id: str
    session_id: str
    reports: dict[str, Progress]
    traffic: Traffic | None = None


@dataclass(frozen=True, slots=True)
class Beat:
    """The answer to a heartbeat."""

    generation: int
    unknown: tuple[str, ...]
    cancel: tuple[str, ...]
    bytes_per_second: int = 0
    """The host's share of the bandwidth; 0: no limit."""


def beat_together(
    change: Change, some: Sequence[Said], moment: Moment, lease_until_us: int
) -> list[Beat | ControllerError]:
    """An answer for each, in their order: FailedPrecondition/SESSION_UNKNOWN for one of another session, of which nothing is written."""
    fleet, now_us = change.transaction.fleet, moment.now_us
    sessions = {session.agent_id: session.session_id for session in fleet.sessions_of([said.agent_id for said in some])}
    known = [said for said in some if sessions.get(said.agent_id) == said.session_id]
    fleet.renew_sessions([(said.agent_id, said.session_id) for said in known], lease_until_us, now_us)
    taken = Reports(change, known, moment)
    answers = {id(said): taken.take(said) for said in known}
    taken.store()
    generations = fleet.generations_of([said.agent_id for said in known])
    shares = told(change.transaction, {said.agent_id: said.traffic for said in known if said.traffic}, now_us)
    return [
        Beat(generations.get(said.agent_id, 0), *answers[id(said)], shares.get(said.agent_id, 0))
        if id(said) in answers
        else session_unknown()
        for said in some
    ]


class Reports:
    """Of one transaction: what they are about is read at once, and what is new of progress written at once."""

    def __init__(self, change: Change, some: Sequence[Said], moment: Moment) -> None:
        runs = change.transaction.runs
        ids = [attempt_id for said in some for attempt_id in said.reports]
        found = of_attempts(change.transaction, runs.attempts_by_id(ids))
        self._change = change
        self._moment = moment
        self._executions = {each.attempt.id: each for each in found}
        self._progress = runs.progress_of(ids)
        self._db_epoch = change.transaction.leadership.db_epoch() if ids else 0
        self._fresh: dict[str, Progress] = {}
        self._proofs = Proofs(change.transaction)

    def take(self, said: Said) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Ids of attempts that are not current any more, and of those that are to stop."""
        answers: dict[str, Instruction] = {}
        for attempt_id, progress in said.reports.items():
            before = self._executions.get(attempt_id)
            if before is None or before.attempt.host_id != said.agent_id:
                answers[attempt_id] = Instruction.ANSWER_FORGET
                continue
            known = self._progress.get(attempt_id)
            event = Reported(progress.state, further(known, progress), self._db_epoch)
            made = self._change.take(before, event, self._moment)
            self._executions[attempt_id] = made.after
            proof = proof_of(before, made.after, known, progress)
            if proof is not None:
                self._proofs.note(made.after, proof)
            answers.update((attempt_id, each) for each in ANSWERS if each in made.instructions)
            if Instruction.ANSWER_FORGET not in made.instructions and (known is None or progress.seq > known.seq):
                self._progress[attempt_id] = self._fresh[attempt_id] = progress
        unknown, cancel = (tuple(key for key, what in answers.items() if what is each) for each in ANSWERS)
        return unknown, cancel

    def store(self) -> None:
        self._change.transaction.runs.save_progress_of(self._fresh, self._moment.now_us)


def session_unknown() -> FailedPrecondition:
    return FailedPrecondition("SESSION_UNKNOWN", "This session is over or unknown; call Hello again.")
