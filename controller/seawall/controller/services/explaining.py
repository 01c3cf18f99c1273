"""Why a run waits, how its disks were read, what would help: the facts of now, put through the same plan that places runs."""

from dataclasses import replace

from seawall.api.v1 import limits_pb2
from seawall.controller.admission.advice import (
    not_begun,
    read_sentences,
    silent_host,
    to_be_heard,
    to_go_faster,
    to_start,
)
from seawall.controller.admission.candidates import NEVER_PROTECTED, AdmissionClass, Candidate, class_of
from seawall.controller.admission.facts import FleetFacts, Occupied
from seawall.controller.admission.gates import BlockedOn
from seawall.controller.admission.mirror import FleetMirror, Sight
from seawall.controller.admission.scopes import scopes_of_live
from seawall.controller.hooks.decision import holds_back
from seawall.controller.policies.closed_window import closed_window
from seawall.controller.policies.compiled import Compiled
from seawall.controller.records.limits import Measure, Scope, ScopeKey
from seawall.controller.records.runs import AttemptState, Progress, Run, RunState
from seawall.controller.runs.ready import by_policy_alone
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.in_window import outside
from seawall.controller.scheduler.placement import why_waiting
from seawall.controller.services.convert_limits import blocked_message, holder_message
from seawall.controller.services.convert_runs import run_message
from seawall.controller.services.naming import find_run
from seawall.controller.services.views import RunView, run_views
from seawall.controller.store.transaction import Store, Transaction
from seawall.repository.clock import Clock, datetime_of

CLASSES = {
    AdmissionClass.RESTORE: "restore",
    AdmissionClass.AD_HOC: "ad hoc",
    AdmissionClass.SCHEDULED: "scheduled",
}
MOST_HOLDERS = 100


class Explaining:
    """Belongs to one event loop."""

    def __init__(self, store: Store, mirror: FleetMirror, clock: SteadyClock, wall: Clock) -> None:
        """`wall`: judges windows, as the scheduler does."""
        self._store = store
        self._mirror = mirror
        self._clock = clock
        self._wall = wall

    async def explain(self, text: str) -> limits_pb2.ExplainRunResponse:
        """Raises NotFound/RUN_UNKNOWN."""
        now_us, listening_us = self._clock.now_us(), self._clock.started_us

        def closure(transaction: Transaction) -> limits_pb2.ExplainRunResponse:
            (view,) = run_views(transaction, [find_run(transaction, text)], now_us, listening_us=listening_us)
            if view.run.state is not RunState.READY:
                return _begun_before(view, now_us)
            return self._waiting(transaction, view, now_us)

        return await self._store.read(closure)

    def _waiting(self, transaction: Transaction, view: RunView, now_us: int) -> limits_pb2.ExplainRunResponse:
        run, sight = view.run, self._mirror.look(transaction, now_us)
        answer, wall_us = _begun(view), self._wall.now_us()
        shut = _shut(transaction, run, now_us, wall_us)
        if shut:
            answer.blocked_on.sentence = shut
            answer.advice.append(_not_to_wait(transaction, view))
            return answer
        # As the scheduler's own look: those whose windows are closed take nobody's place.
        sight = replace(sight, lines=sight.lines.without(frozenset(outside(sight.windowed, sight.ready, wall_us))))
        _tell_place(answer, run, sight)
        if run.not_before_us > now_us:
            # A pause after a failure, or a policy's spread: nothing of admission is waited for yet.
            answer.blocked_on.sentence = run.blocked_on
            return answer
        blocked = why_waiting(run, sight.lines, sight.facts)
        if blocked is None:
            return answer
        holders = _holders(sight.facts, blocked)
        progress = transaction.runs.progress_of([each.attempt_id for each in holders])
        answer.blocked_on.CopyFrom(blocked_message(sight.facts, blocked))
        answer.holders.extend(
            holder(sight.facts, each, progress.get(each.attempt_id)) for each in holders[:MOST_HOLDERS]
        )
        ends = [each.eta_seconds for each in answer.holders if each.eta_seconds]
        answer.advice.extend(to_start(sight.facts, blocked, min(ends, default=0)))
        return answer


def _shut(transaction: Transaction, run: Run, now_us: int, wall_us: int) -> str:
    """Which closed window holds it back; "": none. Also before closing.py has looked, and while it pauses after a failure."""
    policy = transaction.policies.policy(run.policy_id) if by_policy_alone(run) else None
    if policy is None:
        return ""
    begins_us = wall_us + run.not_before_us - now_us
    times = (datetime_of(each) for each in (run.nominal_us, begins_us, wall_us))
    try:
        return closed_window(Compiled.of(policy), *times)
    except (ValueError, LookupError):  # its zone is gone with an upgrade: it has no windows that anybody could keep to
        return ""


def _not_to_wait(transaction: Transaction, view: RunView) -> str:
    """What somebody orders waits for no window: the VM's open run goes on, of several the one whose turn is next."""
    run, command = view.run, f"seawall backup {view.run.vm_name!r} --repo {view.repository_name}"
    first = transaction.runs.open_backups([run.vm_id], run.repository_id).get(run.vm_id, run)
    if first.id != run.id:
        return f"Not to wait for the window: {command}, once run {first.id} of this VM is over."
    return f"Not to wait for the window: {command} lets this run begin as soon as there is a place for it."


def _begun(view: RunView) -> limits_pb2.ExplainRunResponse:
    run = view.run
    return limits_pb2.ExplainRunResponse(
        run=run_message(view),
        admission_class=CLASSES[class_of(run)],
        chosen=run.backup.chosen if run.backup is not None else (),
    )


def _begun_before(view: RunView, now_us: int) -> limits_pb2.ExplainRunResponse:
    """Of a run that is under way or over: how its disks are read, which the end changes nothing of, and what holds it up now."""
    answer = _begun(view)
    reported = [view.progress[each.id] for each in view.attempts if each.id in view.progress]
    last: Progress | None = reported[-1] if reported else None
    if last is not None:
        answer.disks.extend(read_sentences(last))
    if not view.run.state.over:
        _tell_hold_up(answer, view, now_us)
    return answer


def _tell_hold_up(answer: limits_pb2.ExplainRunResponse, view: RunView, now_us: int) -> None:
    """Only what is so now: what a silent host, or an attempt before this one, said of its bottleneck is of then."""
    run = view.run
    hook, progress = holds_back(view.hooks, run.current_attempt), view.progress.get(run.current_attempt)
    away = next((each for each in view.attempts if each.id in view.silences), None)
    if away is not None:
        host_name, silence = view.host_names.get(away.host_id, away.host_id), view.silences[away.id]
        answer.blocked_on.sentence = silent_host(host_name, away, run.kind, silence, now_us)
        answer.advice.extend(to_be_heard(host_name))
    elif hook is not None:
        answer.blocked_on.sentence = f"the hook {hook.hook} before it"
    elif run.blocked_on:
        answer.blocked_on.sentence = run.blocked_on
    elif (begins := next((each for each in view.attempts if each.state is AttemptState.ASSIGNED), None)) is not None:
        host_name = view.host_names.get(begins.host_id, begins.host_id)
        answer.blocked_on.sentence = not_begun(host_name, begins, run.kind, now_us)
    elif progress is not None:
        answer.advice.extend(to_go_faster(progress))


def holder(facts: FleetFacts, each: Occupied, progress: Progress | None) -> limits_pb2.Holder:
    """Of one whose host is silent nobody knows when it will be done."""
    message, session = holder_message(facts, each, progress), facts.sessions.get(each.host_id)
    if session is None or session.lease_until_us <= facts.now_us:
        message.eta_seconds = 0
    return message


def _holders(facts: FleetFacts, blocked: BlockedOn) -> list[Occupied]:
    """Live attempts that have what the run waits for, oldest first."""
    if not blocked.cap:
        return []
    if blocked.scope is Scope.VM:
        return [each for each in facts.live if each.vm_id == blocked.key]
    where = ScopeKey(blocked.scope, blocked.key)
    found = [each for each in facts.live if where in scopes_of_live(facts, each)]
    if blocked.measure is Measure.PREPARING:
        found = [each for each in found if each.preparing and not each.restore]
    return sorted(found, key=lambda each: each.created_us)


def _tell_place(answer: limits_pb2.ExplainRunResponse, run: Run, sight: Sight) -> None:
    """How many candidates come before it, and how late it is. Turns among tenants are left out of account."""
    now_us = sight.facts.now_us

    def urgency(candidate: Candidate) -> tuple[int, tuple[float, int, str]]:
        return candidate.admission, candidate.urgency(now_us)

    everybody = [each for line in sight.lines.of.values() for each in line]
    own = next((each for each in everybody if each.run_id == run.id), None)
    if own is None:
        return
    mine, lateness = urgency(own), own.lateness(now_us)
    answer.ahead = sum(urgency(each) < mine for each in everybody)
    if lateness == NEVER_PROTECTED:  # which JSON has no number for
        answer.no_point_yet = True
    elif not own.restore:
        answer.lateness = lateness
