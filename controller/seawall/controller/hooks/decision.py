"""When a call is made, what a failed one means, and which calls an attempt brings. Pure but for the ids of notices."""

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from uuid import UUID, uuid5

from seawall.controller.hooks.outcome import Outcome
from seawall.controller.records.hooks import CallState, HookCall, OnFailure, Stage
from seawall.controller.records.policies import Policy
from seawall.controller.records.runs import Attempt, AttemptState, Failure, FailureKind
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.store.hooks import DueCall
from seawall.controller.timings import SECOND_US
from seawall.repository.clock import Clock

IDS = UUID("6f1d1f0e-3c64-5a2b-9d3e-7a0c5a5e7c11")
"""Names the ids of calls, which follow from their attempt's."""
PAUSES_SECONDS = (10, 60, 300, 1800, 7200)
"""Between the tries of what comes after an attempt, and of notices; then they have failed."""


class Step(Enum):
    """What becomes of a call whose turn it is."""

    CALL = "call"
    DROP = "drop"


def calls_around(policy: Policy, attempt: Attempt) -> list[HookCall]:
    """What is called before and after an attempt of one of the policy's runs."""
    hooks = policy.spec.hooks
    before = [(Stage.BEFORE, name, hooks.before.timeout_seconds, hooks.on_failure) for name in hooks.before.names]
    after = [(Stage.AFTER, name, hooks.after.timeout_seconds, OnFailure.CONTINUE) for name in hooks.after.names]
    return [
        HookCall(
            id=str(uuid5(IDS, f"{attempt.id}/{position}")),
            policy_id=policy.id,
            run_id=attempt.run_id,
            stage=stage,
            hook=name,
            timeout_seconds=seconds,
            attempt_id=attempt.id,
            position=position,
            on_failure=then,
            created_us=attempt.created_us,
        )
        for position, (stage, name, seconds, then) in enumerate([*before, *after])
    ]


def calls_of_notice(policy: Policy, body: str, clock: Clock) -> list[HookCall]:
    order = policy.spec.hooks.notify
    return [
        HookCall(
            id=uuid7(clock),
            policy_id=policy.id,
            run_id="",
            stage=Stage.NOTIFY,
            hook=name,
            timeout_seconds=order.timeout_seconds,
            created_us=clock.now_us(),
            body=body,
        )
        for name in order.names
    ]


def step_of(due: DueCall) -> Step:
    """A call before an attempt has a reason while nobody took the attempt; one after it if anything was done before it or for it, and
    until something is done before the next attempt: a late "undo" would undo that. An attempt that came to nothing has nothing undone.
    """
    if due.call.stage is Stage.NOTIFY:
        return Step.CALL
    if due.call.stage is Stage.BEFORE:
        return Step.CALL if due.attempt_state is AttemptState.ASSIGNED else Step.DROP
    return Step.CALL if due.touched and not due.overtaken else Step.DROP


def begun(call: HookCall, now_us: int) -> HookCall:
    return replace(call, tries=call.tries + 1, begun_us=now_us)


def ended(call: HookCall, outcome: Outcome, now_us: int) -> HookCall:
    """DONE, FAILED, or WAITING for the next try. A hook before a run has one: an exit code is an answer, and a host waits."""
    after = replace(call, outcome=outcome.told, ended_us=now_us)
    if outcome.succeeded:
        return replace(after, state=CallState.DONE)
    after = replace(after, failures=call.failures + 1)
    if call.stage is Stage.BEFORE or after.failures > len(PAUSES_SECONDS):
        return replace(after, state=CallState.FAILED)
    return replace(after, not_before_us=now_us + PAUSES_SECONDS[call.failures] * SECOND_US)


def dropped(call: HookCall, now_us: int) -> HookCall:
    return replace(call, state=CallState.DROPPED, ended_us=now_us)


def holds_back(calls: Sequence[HookCall], attempt_id: str) -> HookCall | None:
    """The call that an attempt still waits for before its host may begin."""
    mine = (each for each in calls if each.attempt_id == attempt_id)
    return next((each for each in mine if each.stage is Stage.BEFORE and each.state is CallState.WAITING), None)


def was_begun(calls: Sequence[HookCall], attempt_id: str) -> bool:
    """Whether anything was called before the attempt."""
    return any(each.attempt_id == attempt_id and each.stage is Stage.BEFORE and each.begun_us for each in calls)


def failure_of(call: HookCall, outcome: Outcome) -> Failure | None:
    """What the run of a hook that failed before it ends with, or is tried again after; None: it goes on.

    A hook that is not there says nothing, so nothing is skipped for it, and it may be there for the next leader.
    """
    if call.stage is not Stage.BEFORE or call.state is not CallState.FAILED or call.on_failure is OnFailure.CONTINUE:
        return None
    message = f"The hook {call.hook} before it failed. {call.outcome}"
    if not outcome.called:
        return Failure("HOOK_UNUSABLE", message, "See `seawall hook list`.", FailureKind.CONFLICT)
    reason = "HOOK_SKIPPED" if call.on_failure is OnFailure.SKIP else "HOOK_FAILED"
    return Failure(reason, message, "See `seawall hook test`, and the hook's own log.", FailureKind.PERMANENT)
