"""What hooks are told, as JSON and in short. Pure. Fields are only ever added; `version` stays 1 while that is so."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seawall.controller.records.hooks import HookCall, Trouble
from seawall.controller.records.runs import Attempt, AttemptState, Run, RunState
from seawall.repository.clock import datetime_of

VERSION = 1
MOST_NAMED = 100
"""VMs of one notice."""
_WITH_POINT = (RunState.SUCCEEDED, RunState.SUCCEEDED_WITH_WARNINGS)
TRIAL_STAGE = "test"


@dataclass(frozen=True, slots=True)
class Message:
    """What a hook is told: `body` is JSON; `facts` the same in short, for a command's environment. No secret is in either."""

    call_id: str
    stage: str
    body: bytes
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunNames:
    """Names for what a run knows by ids."""

    policy: str
    repository: str
    host: str


def run_message(call: HookCall, run: Run, attempt: Attempt, names: RunNames) -> Message:
    """Of a hook before or after an attempt. `state` is the run's: "ready" after one that is followed by another. `publishing`: the host is
    done with it, and its point waits for the store.
    """
    failure = run.failure or attempt.failure
    short = {
        "vm": run.vm_name,
        "vm_id": run.vm_id,
        "host": names.host,
        "repository": names.repository,
        "attempt": attempt.no,
        "state": run.state.value.lower(),
        "reason": failure.reason if failure else "",
        "point": run.point_id if run.state in _WITH_POINT else "",
    }
    about = {
        "id": run.id,
        **short,
        "due": _moment(run.nominal_us),
        "message": failure.message if failure else "",
        "warnings": [each.reason for each in run.warnings],
        "publishing": attempt.state is AttemptState.PUBLISHING,
    }
    return _message(
        call, names.policy, {"run": about}, {"run": run.id, **{key: str(value) for key, value in short.items()}}
    )


def notice_message(call: HookCall, policy: str) -> Message:
    """Of a notice: what stands in the call was decided when it was made."""
    body: dict[str, Any] = json.loads(call.body)
    facts = {"troubles": str(body["troubles_total"]), "recovered": str(body["recovered_total"])}
    return _message(call, policy, body, facts)


def trial_message(call_id: str, hook: str) -> Message:
    head = {"version": VERSION, "call": call_id, "stage": TRIAL_STAGE, "hook": hook, "try": 1, "policy": ""}
    facts = {"call": call_id, "stage": TRIAL_STAGE, "hook": hook, "try": "1"}
    return Message(call_id, TRIAL_STAGE, json.dumps(head).encode(), facts)


def notice_bodies(
    troubles: Sequence[Trouble], recovered: Sequence[str], names: Mapping[str, str], now_us: int
) -> Iterator[str]:
    """As many as name everybody; none where there is nobody. `recovered`: ids of VMs; `names`: of all VMs that are named."""
    for start in range(0, max(len(troubles), len(recovered)), MOST_NAMED):
        some = slice(start, start + MOST_NAMED)
        yield json.dumps(
            {
                "at": _moment(now_us),
                "troubles_total": len(troubles),
                "troubles": [_trouble(each, names) for each in troubles[some]],
                "recovered_total": len(recovered),
                "recovered": [{"vm": names.get(vm_id, ""), "vm_id": vm_id} for vm_id in recovered[some]],
            }
        )


def _trouble(trouble: Trouble, names: Mapping[str, str]) -> dict[str, str]:
    return {
        "vm": names.get(trouble.vm_id, ""),
        "vm_id": trouble.vm_id,
        "what": trouble.event.value.lower(),
        "since": _moment(trouble.since_us),
        "run": trouble.run_id,
        "message": trouble.message,
    }


def _message(call: HookCall, policy: str, more: Mapping[str, Any], facts: Mapping[str, str]) -> Message:
    stage = call.stage.value.lower()
    head = {"call": call.id, "stage": stage, "hook": call.hook, "try": call.tries, "policy": policy}
    body = json.dumps({"version": VERSION, **head, **more}).encode()
    return Message(call.id, stage, body, {name: str(value) for name, value in head.items()} | dict(facts))


def _moment(us: int) -> str:
    return f"{datetime_of(us):%Y-%m-%dT%H:%M:%SZ}" if us else ""
