"""Long random histories of one run: agents that come back late, roll-backs, cancellations; beside an oracle of what may ever be true."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from seawall.controller.errors import FailedPrecondition
from seawall.controller.records.runs import Attempt, AttemptState, FailureKind, Run, RunState, RunWarning
from seawall.controller.runs import events, machine, ready
from seawall.controller.runs.events import Event, Moment
from seawall.controller.runs.instructions import Instruction
from seawall.controller.runs.machine import Execution
from seawall.controller.timings import Timings, microseconds
from support.controller_records import NOW, a_failure, a_run

TIMINGS = Timings()
WORKING = (AttemptState.PREPARING, AttemptState.TRANSFERRING)
ENDLESS_US = microseconds(2 * TIMINGS.max_run_seconds + TIMINGS.publishing_seconds)


class Histories(RuleBasedStateMachine):
    """Any attempt, however old, may be named in any event: agents pause, come back, and repeat themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.now_us, self.epoch, self.commits = NOW, 1, 0
        self.run: Run = a_run()
        self.attempts: list[Attempt] = []
        self.validated: set[str] = set()

    def happens(self, attempt: Attempt, event: Event) -> bool:
        """Whether it was let. What was over before stays as it was, to the last field."""
        before = Execution(self.run, attempt)
        acted = before.current
        try:
            made = machine.step(before, event, Moment(self.now_us, TIMINGS, 0.5))
        except FailedPrecondition:
            return False
        if not acted:
            assert made.after == before, "an attempt that is over, or has a successor, does nothing"
        self.run = made.after.run
        self.attempts[attempt.no - 1] = made.after.attempt
        if Instruction.DROP_POINT in made.instructions:
            self.validated.discard(attempt.id)
        return acted

    def any_of(self, number: int) -> Attempt:
        return self.attempts[number % len(self.attempts)]

    @precondition(lambda self: self.run.state is RunState.READY and self.now_us >= self.run.not_before_us)
    @rule()
    def place(self) -> None:
        moment = Moment(self.now_us, TIMINGS)
        name = f"attempt-{len(self.attempts) + 1}"
        self.run, attempt = ready.assigned(self.run, name, "alpha", self.epoch, moment)
        assert attempt.no == len(self.attempts) + 1, "no number is given twice"
        self.attempts.append(attempt)

    @precondition(lambda self: self.attempts)
    @rule(number=st.integers(0, 9), session=st.sampled_from(["one", "two"]))
    def accept(self, number: int, session: str) -> None:
        self.happens(self.any_of(number), events.Accepted(session))

    @precondition(lambda self: self.attempts)
    @rule(number=st.integers(0, 9), phase=st.sampled_from(WORKING), moved=st.booleans())
    def report(self, number: int, phase: AttemptState, moved: bool) -> None:
        attempt = self.any_of(number)
        before = attempt.state
        self.happens(attempt, events.Reported(phase, moved, self.epoch))
        after = self.attempts[attempt.no - 1].state
        if before is AttemptState.LOST and attempt.db_epoch == self.epoch and self.run.state is RunState.ACTIVE:
            assert after in WORKING or self.run.current_attempt != attempt.id, "the same attempt goes on"

    @precondition(lambda self: self.attempts)
    @rule(number=st.integers(0, 9), kind=st.sampled_from(FailureKind), canceled=st.booleans())
    def agent_fails(self, number: int, kind: FailureKind, canceled: bool) -> None:
        self.happens(self.any_of(number), events.AgentFailed(a_failure(kind), canceled))

    @precondition(lambda self: self.attempts)
    @rule(number=st.integers(0, 9), runs=st.booleans())
    def agent_begins_anew(self, number: int, runs: bool) -> None:
        self.happens(self.any_of(number), events.Greeted("three", runs))

    @precondition(lambda self: not self.run.state.over)
    @rule(window=st.booleans())
    def cancel(self, window: bool) -> None:
        if self.run.state is RunState.READY:
            self.run = ready.canceled(self.run, Moment(self.now_us, TIMINGS))
            return
        told = RunWarning("WINDOW_ENDED", "it ended") if window else None
        self.happens(self.attempts[-1], events.CancelAsked(told))

    @precondition(lambda self: self.attempts)
    @rule(number=st.integers(0, 9))
    def hand_in(self, number: int) -> None:
        attempt = self.any_of(number)
        if self.happens(attempt, events.Validated(attempt.id.encode(), b"refmap")):
            self.validated.add(attempt.id)

    @precondition(lambda self: self.publishing() is not None)
    @rule()
    def commit(self) -> None:
        attempt = self.publishing()
        assert attempt is not None
        assert self.happens(attempt, events.Committed(()))
        self.commits += 1

    @precondition(lambda self: self.publishing() is not None)
    @rule(for_good=st.booleans())
    def store_refuses(self, for_good: bool) -> None:
        attempt = self.publishing()
        assert attempt is not None
        self.happens(attempt, events.HeldUp(a_failure(FailureKind.PERMANENT), for_good, "the store"))

    @precondition(lambda self: not self.run.state.over)
    @rule()
    def its_point_was_deleted(self) -> None:
        """As a bucket says it of a run that an older database holds as open."""
        failure, moment = a_failure(FailureKind.PERMANENT), Moment(self.now_us, TIMINGS)
        if self.run.state is RunState.READY:
            self.run = ready.unpublishable(self.run, failure, moment)
        else:
            self.happens(self.attempts[-1], events.Unpublishable(failure))
        assert self.run.state is RunState.FAILED

    @rule()
    def database_rolled_back(self) -> None:
        self.epoch += 1

    @precondition(lambda self: self.attempts)
    @rule(online=st.booleans(), elsewhere=st.booleans(), grace=st.booleans())
    def look(self, online: bool, elsewhere: bool, grace: bool) -> None:
        event = events.TimePassed(self.epoch, online, elsewhere, grace)
        for attempt in list(self.attempts):
            before = Execution(self.run, attempt)
            self.happens(attempt, event)
            if grace and attempt.db_epoch == self.epoch:
                assert before == Execution(self.run, self.attempts[attempt.no - 1]), "in the grace nothing expires"

    @rule(seconds=st.sampled_from([1, 30, 61, 600, 901, 3600, 86_400]))
    def time_passes(self, seconds: int) -> None:
        self.now_us += microseconds(seconds)

    def publishing(self) -> Attempt | None:
        found = [each for each in self.attempts if each.state is AttemptState.PUBLISHING]
        return found[0] if found else None

    @invariant()
    def one_attempt_lives(self) -> None:
        live = [each.id for each in self.attempts if each.state.live]
        assert live == ([self.run.current_attempt] if self.run.state is RunState.ACTIVE else [])

    @invariant()
    def one_point_at_most(self) -> None:
        done = (RunState.SUCCEEDED, RunState.SUCCEEDED_WITH_WARNINGS)
        assert self.commits == (1 if self.run.state in done else 0)
        assert len(self.validated) <= 1, "what was validated ends before anything else is"

    @invariant()
    def each_live_attempt_has_a_deadline(self) -> None:
        for each in self.attempts:
            assert (each.phase_deadline_us > 0) == each.state.live
            assert (each.lost_from in WORKING) == (each.state is AttemptState.LOST)

    @invariant()
    def who_was_canceled_waits_for_nothing(self) -> None:
        assert not (self.run.cancel_us and self.run.state is RunState.READY)
        assert self.run.state is not RunState.CANCELED or self.run.cancel_us

    def teardown(self) -> None:
        """Whatever happened: time alone ends it."""
        end_us = self.now_us + ENDLESS_US
        for now_us in range(self.now_us, end_us + 1, microseconds(6 * 3600)):
            moment = Moment(now_us, TIMINGS, 0.5)
            self.run = ready.overdue(self.run, moment)
            if self.run.state is RunState.ACTIVE:
                look = events.TimePassed(self.epoch, True, False, grace=False)
                made = machine.step(Execution(self.run, self.attempts[-1]), look, moment).after
                self.run, self.attempts[-1] = made.run, made.attempt
        assert self.run.state.over, replace(self.run, blocked_on="")


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=80, stateful_step_count=50)
