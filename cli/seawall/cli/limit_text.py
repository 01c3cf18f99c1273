"""Limits as people read them."""

from collections.abc import Iterable

from seawall.api.v1 import limits_pb2
from seawall.cli.text import count, local, size

COLUMNS = ("SCOPE", ">PREPARING", ">TRANSFERRING", ">BANDWIDTH", ">WEIGHT", "SET BY", "NOTE")


UNKNOWN = {"storage": "no VM has a disk there", "site": "no host is there", "label": "no VM has it"}
"""Kind -> why a limit of this one holds nothing back."""


def limit_rows(limits: Iterable[limits_pb2.ScopeLimits]) -> list[tuple[str, ...]]:
    """Used/limit; a dash: no limit. What is kept for restores is part of the limit."""
    return [
        (
            each.scope,
            _use(each.preparing_now, each.preparing if each.HasField("preparing") else None, each),
            _use(each.transferring_now, each.transferring if each.HasField("transferring") else None, each),
            _rate(each),
            str(each.weight) if each.weight > 1 else "",
            _set_by(each),
            _note(each),
        )
        for each in limits
    ]


def _use(now: int, cap: limits_pb2.LimitUse | None, each: limits_pb2.ScopeLimits) -> str:
    limit = "-" if cap is None else str(cap.cap)
    return limit if _for_each(each) else f"{now}/{limit}"


def _for_each(each: limits_pb2.ScopeLimits) -> bool:
    """A line that says what holds for each of its kind: nothing is used of it."""
    return ":" not in each.scope and each.scope != "global"


def _rate(each: limits_pb2.ScopeLimits) -> str:
    if not each.HasField("bandwidth"):
        return f"{size(each.bytes_per_second_now)}/s" if each.bytes_per_second_now else "-"
    limit = f"{size(each.bandwidth.cap)}/s"
    return limit if _for_each(each) else f"{size(each.bytes_per_second_now)}/s of {limit}"


def _set_by(each: limits_pb2.ScopeLimits) -> str:
    caps = {name: getattr(each, name) for name in ("preparing", "transferring", "bandwidth") if each.HasField(name)}
    sources = dict.fromkeys(cap.source for cap in caps.values())
    words = {"set": "operator", "each": f"each {each.scope.partition(':')[0]}", "built-in": "built-in"}
    return ", ".join(words[source] for source in sources)


def _note(each: limits_pb2.ScopeLimits) -> str:
    notes = []
    if each.transferring.kept_for_restores:
        notes.append(f"{each.transferring.kept_for_restores} kept for restores")
    if each.HasField("breaker"):
        notes.append(breaker_text(each.breaker))
    if each.unknown:
        notes.append(UNKNOWN.get(each.scope.partition(":")[0], "there is none"))
    return "; ".join(notes)


def breaker_text(breaker: limits_pb2.Breaker) -> str:
    """Failures in a row, and what they mean."""
    failed = f"{count(breaker.failures, 'failure')} in a row ({breaker.reason})"
    if breaker.state == "closed":
        return failed
    if breaker.state == "open":
        return f"breaker open after {failed}: next try {local(breaker.next_try_at)}"
    return f"breaker half-open after {failed}: one attempt tries"
