"""Hooks on the wire, and who names them."""

from collections.abc import Iterable, Mapping, Sequence

from seawall.api.v1 import policy_pb2, resources_pb2
from seawall.controller.hooks.directory import Found
from seawall.controller.records.hooks import CallState, HookCall
from seawall.controller.records.runs import Attempt
from seawall.controller.services.convert_time import timestamp
from seawall.controller.store.transaction import Transaction


def hook_users(transaction: Transaction) -> dict[str, list[str]]:
    """Name of a hook -> names of the policies that name it."""
    users: dict[str, list[str]] = {}
    for policy in transaction.policies.policies():
        for name in policy.spec.hooks.names:
            users.setdefault(name, []).append(policy.name)
    return users


def hook_messages(
    found: Sequence[Found], users: Mapping[str, Sequence[str]], failed: Mapping[str, HookCall]
) -> list[policy_pb2.Hook]:
    """By name. `failed`: the call of each that failed last."""
    there = {each.name: each for each in found}
    return [_hook(name, there.get(name), users.get(name, ()), failed.get(name)) for name in sorted({*there, *users})]


def _hook(name: str, found: Found | None, users: Sequence[str], failed: HookCall | None) -> policy_pb2.Hook:
    told = policy_pb2.Hook(
        name=name,
        policies=users,
        last_failure=failed.outcome if failed else "",
        last_failed_at=timestamp(failed.ended_us) if failed else None,
    )
    if found is None:
        told.trouble = "It is not there."
        return told
    told.kind = policy_pb2.HOOK_KIND_WEBHOOK if found.webhook else policy_pb2.HOOK_KIND_COMMAND
    told.trouble = found.trouble
    return told


def call_messages(calls: Iterable[HookCall], attempts: Iterable[Attempt]) -> list[resources_pb2.HookCall]:
    numbers = {attempt.id: attempt.no for attempt in attempts}
    return [
        resources_pb2.HookCall(
            call_id=call.id,
            hook=call.hook,
            stage=resources_pb2.HookStage.Value(f"HOOK_STAGE_{call.stage}"),
            state=resources_pb2.HookCallState.Value(f"HOOK_CALL_STATE_{call.state}"),
            tries=call.tries,
            outcome=call.outcome,
            begun_at=timestamp(call.begun_us),
            ended_at=timestamp(call.ended_us),
            attempt=numbers.get(call.attempt_id, 0),
            next_at=timestamp(call.not_before_us) if call.state is CallState.WAITING and call.tries else None,
        )
        for call in calls
    ]
