"""Everything that the machine of runs and attempts can reach from a READY run: breadth first, one example of each kind of situation.

Two situations are of one kind when states, cancellation and counts agree; how much time is left differs, so each is left at several times.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from seawall.controller.errors import FailedPrecondition
from seawall.controller.records.runs import Attempt, AttemptState, FailureKind, Run, RunKind, RunState, RunWarning
from seawall.controller.runs import events, machine, ready
from seawall.controller.runs.events import Event, Moment
from seawall.controller.runs.machine import Execution, Step
from seawall.controller.timings import Timings
from support.controller_records import NOW, SECOND, a_failure, a_restore, a_run

TIMINGS = Timings(most_tries=2, most_requeues=1)
EPOCH = 1
MOMENT = Moment(NOW, TIMINGS, 0.5)


@dataclass(frozen=True)
class Situation:
    """A run, its newest attempt if it had any, and what time it is."""

    run: Run
    attempt: Attempt | None
    now_us: int

    @property
    def kind(self) -> tuple[object, ...]:
        run, attempt = self.run, self.attempt
        of_attempt = (attempt.state, attempt.lost_from) if attempt else ()
        return (run.kind, run.state, run.cancel_us > 0, run.tries, run.requeues, *of_attempt)

    @property
    def execution(self) -> Execution | None:
        """None: no attempt works on it."""
        if self.run.state is not RunState.ACTIVE or self.attempt is None:
            return None
        return Execution(self.run, self.attempt)

    @property
    def moment(self) -> Moment:
        return replace(MOMENT, now_us=self.now_us)


@dataclass(frozen=True)
class Move:
    """One step of the machine, from one situation to the next."""

    before: Situation
    event: Event
    after: Situation
    made: Step


def every_look(*, grace: bool = False) -> Iterator[events.TimePassed]:
    for epoch in (EPOCH, EPOCH + 1):
        for online in (True, False):
            for elsewhere in (True, False):
                yield events.TimePassed(epoch, online, elsewhere, grace)


def every_event() -> Iterator[Event]:
    yield from every_look()
    yield from every_look(grace=True)
    yield events.Accepted("session", "parent")
    yield events.Accepted("another")
    for phase in (AttemptState.PREPARING, AttemptState.TRANSFERRING):
        for moved in (True, False):
            yield events.Reported(phase, moved, EPOCH)
    yield events.Reported(AttemptState.TRANSFERRING, True, EPOCH + 1)
    for runs in (True, False):
        yield events.Greeted("next", runs)
    for kind in FailureKind:
        for canceled in (True, False):
            yield events.AgentFailed(a_failure(kind), canceled)
    yield events.HookPassed()
    yield replace(next(every_look()), hook_waits=True)
    yield replace(next(every_look()), hook_begun=True)
    for skipped in (True, False):
        yield events.HookRefused(a_failure(FailureKind.PERMANENT), skipped)
    yield events.CancelAsked()
    yield events.CancelAsked(RunWarning("WINDOW_ENDED", "it ended"))
    yield events.Validated(b"root", b"refmap")
    yield events.RestoreHandedIn((), "vm")
    for for_good in (True, False):
        yield events.HeldUp(a_failure(FailureKind.PERMANENT), for_good, "the store")
    yield events.HandedOver()
    yield events.Unpublishable(a_failure(FailureKind.PERMANENT))


def of_publication() -> Iterator[Event]:
    """What the finisher alone says, of a point that is PUBLISHING."""
    yield events.Committed(())


def walk() -> tuple[list[Situation], list[Move]]:
    """(one situation of each kind, every move between them)."""
    first = [Situation(run, None, NOW) for run in (a_run(), a_restore())]
    known = {each.kind: each for each in first}
    moves: list[Move] = []
    waiting = deque(first)
    while waiting:
        here = waiting.popleft()
        for later in _times(here):
            for there, move in _next(replace(here, now_us=later)):
                if move is not None:
                    moves.append(move)
                if there.kind not in known:
                    known[there.kind] = there
                    waiting.append(there)
    return list(known.values()), moves


def states(move: Move) -> tuple[AttemptState, AttemptState]:
    assert move.before.attempt is not None and move.after.attempt is not None
    return move.before.attempt.state, move.after.attempt.state


def changes(moves: Iterable[Move], kind: RunKind) -> set[tuple[AttemptState, AttemptState]]:
    """Of attempts of runs of this kind."""
    pairs = {states(move) for move in moves if move.before.run.kind is kind}
    return {(before, after) for before, after in pairs if before is not after}


def _times(here: Situation) -> set[int]:
    """Now, and the moments at which time alone might do something."""
    deadlines = [here.run.deadline_us] + ([here.attempt.phase_deadline_us] if here.attempt else [])
    return {here.now_us, *(each for each in deadlines if each > here.now_us)}


def _next(here: Situation) -> Iterator[tuple[Situation, Move | None]]:
    if here.run.state is RunState.READY:
        yield from ((there, None) for there in _from_ready(here))
    execution = here.execution
    if execution is None:
        return
    publishing = execution.attempt.state is AttemptState.PUBLISHING
    for event in (*every_event(), *(of_publication() if publishing else ())):
        try:
            made = machine.step(execution, event, here.moment)
        except FailedPrecondition:
            continue
        there = Situation(made.after.run, made.after.attempt, here.now_us)
        yield there, Move(here, event, there, made)


def _from_ready(here: Situation) -> Iterator[Situation]:
    run, moment = here.run, here.moment
    begun, attempt = ready.assigned(run, f"attempt-{run.attempt_count + 1}", "alpha", EPOCH, moment)
    yield Situation(begun, attempt, here.now_us)
    failure = a_failure(FailureKind.PERMANENT)
    for after in (
        ready.canceled(run, moment),
        ready.overdue(run, moment),
        ready.shut_out(run, failure, moment),
        ready.unpublishable(run, failure, moment),
        ready.postponed(run, here.now_us + 3600 * SECOND, "its window", moment),
    ):
        yield Situation(after, here.attempt, here.now_us)
