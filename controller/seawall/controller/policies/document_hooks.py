"""The keys `hooks` and `notify` of a policy file. Hooks have names alone: what a name means is the administrator's to say."""

from collections.abc import Collection

from seawall.controller.policies.amounts import seconds_of
from seawall.controller.policies.yaml_nodes import Field, Table
from seawall.controller.records.hooks import Event, HookOrder, OnFailure, PolicyHooks

ON_FAILURE = {each.value.lower(): each for each in OnFailure}
EVENTS = {each.value.lower(): each for each in Event}
MOST_HOOKS = 8
LONGEST_TIMEOUT_SECONDS = 3600
LONGEST_BEFORE_SECONDS = 600
"""All hooks before a run together: its host waits for them, with a slot."""


def hooks_of(around: Field | None, notify: Field | None, known: Collection[str] | None) -> PolicyHooks:
    """`known`: names of the hooks that there are; None: not asked. Raises InvalidArgument/BAD_POLICY."""
    before = after = None
    if around is not None:
        table = around.table("before", "after")
        if table.empty:
            raise around.wrong("no hook is named; leave the key out, or say what to run before or after")
        before, after = table.get("before"), table.get("after")
    first, on_failure = _before(before, known)
    told, events = _notify(notify, known)
    last = HookOrder() if after is None else _order(after.table("run", "timeout"), known)
    return PolicyHooks(first, on_failure, last, told, events)


def _before(field: Field | None, known: Collection[str] | None) -> tuple[HookOrder, OnFailure]:
    if field is None:
        return HookOrder(), OnFailure.FAIL
    table = field.table("run", "timeout", "on_failure")
    order = _order(table, known)
    if len(order.names) * order.timeout_seconds > LONGEST_BEFORE_SECONDS:
        raise field.wrong(
            f"{len(order.names)} times {order.timeout_seconds} s are too long: the VM's host waits for them with a slot, "
            f"{LONGEST_BEFORE_SECONDS} s at most"
        )
    then = table.get("on_failure")
    if then is None:
        return order, OnFailure.FAIL
    if then.text() not in ON_FAILURE:
        raise then.wrong(f"{then.shown()} is not one of {', '.join(ON_FAILURE)}")
    return order, ON_FAILURE[then.text()]


def _notify(field: Field | None, known: Collection[str] | None) -> tuple[HookOrder, tuple[Event, ...]]:
    if field is None:
        return HookOrder(), tuple(Event)
    table = field.table("run", "timeout", "events")
    order, events = _order(table, known), table.get("events")
    if events is None:
        return order, tuple(Event)
    named = []
    for each in events.items(len(EVENTS)):
        if each.text() not in EVENTS:
            raise each.wrong(f"{each.shown()} is not one of {', '.join(EVENTS)}")
        named.append(EVENTS[each.text()])
    if named == [Event.RECOVERED]:
        raise events.wrong("recovered from what? Name failed, missed, rpo or damaged as well")
    return order, tuple(event for event in Event if event in named)


def _order(table: Table, known: Collection[str] | None) -> HookOrder:
    run, timeout = table.need("run"), table.get("timeout")
    names = []
    for each in run.items(MOST_HOOKS):
        if known is not None and each.text() not in known:
            there = f"there are {', '.join(sorted(known))}" if known else "it has none"
            raise each.wrong(
                f"the controller has no hook {each.shown()} that can be called; {there}: `seawall hook --help`"
            )
        names.append(each.text())
    if len(set(names)) < len(names):
        raise run.wrong("one hook stands here twice")
    seconds = seconds_of(timeout, LONGEST_TIMEOUT_SECONDS) if timeout is not None else HookOrder().timeout_seconds
    return HookOrder(tuple(names), seconds)
