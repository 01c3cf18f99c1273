"""Specifications as files and as words: what `document` reads, this writes; the same specification gives the same text."""

from datetime import timedelta
from difflib import unified_diff
from typing import Any

from seawall.controller.forgetting.retention import Policy as Retention
from seawall.controller.policies.document import DAYS, RULES
from seawall.controller.policies.yaml_nodes import written
from seawall.controller.records.hooks import Event, HookOrder, OnFailure, PolicyHooks
from seawall.controller.records.policies import PolicySpec, Selection, Terms, Window, WindowEnd
from seawall.controller.records.settings import CaptureSettings

_UNITS = ((604_800_000, "w"), (86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms"))
_SIZES = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("MB", 1_000_000), ("kB", 1000))


def document_of(spec: PolicySpec) -> str:
    """The policy as a file that `policy apply` takes."""
    schedule = {"every": duration(spec.every_seconds * 1000)} if spec.every_seconds else {"cron": spec.cron}
    schedule["zone"] = spec.zone
    if spec.spread_seconds is not None:
        schedule["spread"] = duration(spec.spread_seconds * 1000)
    if spec.catch_up_seconds is not None:
        schedule["catch_up"] = duration(spec.catch_up_seconds * 1000)
    whole: dict[str, Any] = {
        "policy": spec.name,
        "repository": spec.repository,
        "tenant": spec.tenant or None,
        "select": _selection(spec.select),
        "schedule": schedule,
        "windows": [_window(window) for window in spec.windows],
        "window_end": _window_end(spec),
        "rpo": duration(spec.rpo_seconds * 1000) if spec.rpo_seconds else None,
        "retention": _retention(spec.retention),
        "verify": duration(spec.verify_seconds * 1000) if spec.verify_seconds else None,
        "capture": _capture(spec.capture),
        "hooks": _hooks(spec.hooks),
        "notify": _notify(spec.hooks),
        "paused": spec.paused or None,
    }
    return written({key: value for key, value in whole.items() if value not in (None, [], {})})


def difference(before: str, after: str) -> list[str]:
    """Lines with " ", "-" or "+" in front, three of context; none where the documents are the same."""
    lines = unified_diff(before.splitlines(), after.splitlines(), lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def calendar_text(spec: PolicySpec) -> str:
    """ "30 2 * * *"; "every 4h"."""
    return f"every {duration(spec.every_seconds * 1000)}" if spec.every_seconds else spec.cron


def selection_text(selection: Selection) -> str:
    """ "hosts alpha, beta; except tags scratch"."""
    wanted = "all VMs" if selection.everything else _terms_text(selection.terms)
    return wanted if selection.but.empty else f"{wanted}; except {_terms_text(selection.but)}"


def retention_text(retention: Retention) -> str:
    """ "last 3, daily 7, within 30d"; every point where nothing is ever deleted."""
    found = _retention(retention)
    return ", ".join(f"{rule} {value}" for rule, value in found.items()) if found else "every point"


def window_text(window: Window) -> str:
    """ "mon, tue 22:00 to 06:00"; "daily 22:00 to 06:00"."""
    days = "daily" if len(window.days) == len(DAYS) else ", ".join(DAYS[day] for day in window.days)
    return f"{days} {_clock(window.start_minute)} to {_clock(window.end_minute)}"


def duration(milliseconds: int) -> str:
    """90000 -> "90s", 5400000 -> "90m", 86400000 -> "1d"."""
    for unit, letter in _UNITS:
        if milliseconds and milliseconds % unit == 0:
            return f"{milliseconds // unit}{letter}"
    return "0s"


def span_text(span: timedelta) -> str:
    """The same, in whole seconds."""
    return duration(int(span.total_seconds()) * 1000)


def _terms_text(terms: Terms) -> str:
    parts = [
        f"{what} {', '.join(some[:5])}{', …' if len(some) > 5 else ''}"
        for what, some in (("names", terms.names), ("hosts", terms.hosts), ("tags", terms.tags))
        if some
    ]
    return " or ".join([*parts, *([f"names like {terms.pattern}"] if terms.pattern else [])])


def _selection(selection: Selection) -> dict[str, Any]:
    wanted: dict[str, Any] = {"all": True} if selection.everything else _terms(selection.terms)
    return wanted if selection.but.empty else wanted | {"except": _terms(selection.but)}


def _terms(terms: Terms) -> dict[str, Any]:
    found = {"names": terms.names, "hosts": terms.hosts, "tags": terms.tags}
    lists: dict[str, Any] = {key: list(value) for key, value in found.items() if value}
    return lists | ({"name_regex": terms.pattern} if terms.pattern else {})


def _window(window: Window) -> dict[str, Any]:
    times = {"from": _clock(window.start_minute), "to": _clock(window.end_minute)}
    return times if len(window.days) == len(DAYS) else {"days": [DAYS[day] for day in window.days]} | times


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _window_end(spec: PolicySpec) -> Any:
    if spec.window_end is WindowEnd.FINISH_CURRENT:
        return {"finish_current": duration(spec.finish_seconds * 1000)}
    return None if spec.window_end is WindowEnd.NO_NEW_STARTS else spec.window_end.value.lower()


def _retention(retention: Retention) -> dict[str, Any]:
    counts: dict[str, Any] = {rule: count for rule in RULES if (count := getattr(retention, f"keep_{rule}"))}
    return counts | ({"within": duration(retention.keep_within_us // 1000)} if retention.keep_within_us else {})


def _capture(capture: CaptureSettings) -> dict[str, Any]:
    found: dict[str, Any] = {
        "freeze": capture.freeze.value.lower() if capture.freeze else None,
        "freeze_limit": _or_none(capture.freeze_limit_ms, duration),
        "latency_ceiling": _or_none(capture.latency_ceiling_ms, duration),
        "bytes_per_second": _or_none(capture.bytes_per_second, _size),
        "iops": capture.iops,
        "exclude_disks": list(capture.exclude_disks or ()) or None,
        "scratch_quota": _or_none(capture.scratch_quota_bytes, _size),
        "compression": capture.compression,
    }
    return {key: value for key, value in found.items() if value is not None}


def hook_texts(hooks: PolicyHooks) -> list[str]:
    """ "before: quiesce, or fail"; "after: report"; "notify: oncall (failed, rpo)"."""
    found = []
    if hooks.before.names:
        found.append(f"before: {', '.join(hooks.before.names)}, or {hooks.on_failure.value.lower()}")
    if hooks.after.names:
        found.append(f"after: {', '.join(hooks.after.names)}")
    if hooks.notify.names:
        events = ", ".join(each.value.lower() for each in hooks.events)
        found.append(f"notify: {', '.join(hooks.notify.names)} ({events})")
    return found


def _hooks(hooks: PolicyHooks) -> dict[str, Any]:
    then = {"on_failure": hooks.on_failure.value.lower()} if hooks.on_failure is not OnFailure.FAIL else {}
    whole = {"before": _order(hooks.before, then), "after": _order(hooks.after, {})}
    return {key: order for key, order in whole.items() if order}


def _notify(hooks: PolicyHooks) -> dict[str, Any]:
    some = {"events": [each.value.lower() for each in hooks.events]} if hooks.events != tuple(Event) else {}
    return _order(hooks.notify, some)


def _order(order: HookOrder, more: dict[str, Any]) -> dict[str, Any]:
    if not order.names:
        return {}
    usual = order.timeout_seconds == HookOrder().timeout_seconds
    timeout = {} if usual else {"timeout": duration(order.timeout_seconds * 1000)}
    return {"run": list(order.names)} | timeout | more


def _or_none(value: int | None, render: Any) -> Any:
    return None if value is None else render(value)


def _size(count: int) -> str:
    for name, unit in _SIZES:
        if count % unit == 0:
            return f"{count // unit}{name}"
    return str(count)
