"""Policy files: YAML in, specifications out, and back. Every error names the file, the line and the field; nothing is guessed."""

import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from seawall.controller.errors import InvalidArgument
from seawall.controller.forgetting.retention import Policy as Retention
from seawall.controller.policies.amounts import (
    LONGEST_SECONDS,
    bytes_of,
    flag_of,
    milliseconds_of,
    seconds_of,
    seconds_or_none,
    texts_of,
)
from seawall.controller.policies.cron import LONGEST_EXPRESSION, BadCalendar, Calendar
from seawall.controller.policies.document_hooks import hooks_of
from seawall.controller.policies.interval import LONGEST_INTERVAL, SHORTEST_INTERVAL
from seawall.controller.policies.pattern import LONGEST_PATTERN, BadPattern, Pattern
from seawall.controller.policies.windows import DAY_MINUTES
from seawall.controller.policies.yaml_nodes import Field, Table, documents
from seawall.controller.policies.zones import BadZone, zone_named
from seawall.controller.records.policies import PolicySpec, Selection, Terms, Window, WindowEnd
from seawall.controller.records.runs import FreezePolicy
from seawall.controller.records.settings import CaptureSettings
from seawall.controller.settings.bounds import check as check_capture
from seawall.repository.format.names import check_tenant

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WINDOW_ENDS = {end.value.lower(): end for end in WindowEnd}
RULES = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
TERMS = ("names", "hosts", "tags", "name_regex")
CAPTURE = (
    "freeze",
    "freeze_limit",
    "latency_ceiling",
    "bytes_per_second",
    "iops",
    "exclude_disks",
    "scratch_quota",
    "compression",
)
TOP = (
    *(
        "policy",
        "repository",
        "tenant",
        "select",
        "schedule",
        "windows",
        "window_end",
        "rpo",
        "retention",
        "verify",
        "capture",
    ),
    *("hooks", "notify", "paused"),
)
MOST_WINDOWS = 50
MOST_KEPT = 1_000_000
SHORTEST_WINDOW_MINUTES = 5
LONGEST_NAME = 63
LONGEST_SPREAD_SECONDS = 24 * 3600
SHORTEST_VERIFY_SECONDS = 3600
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")
_CLOCK = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])")
_FREEZE = {policy.value.lower(): policy for policy in FreezePolicy}


def parse_policies(text: str, source: str, now_us: int, hooks: Collection[str] | None = None) -> list[PolicySpec]:
    """All policies of a file, or InvalidArgument/BAD_POLICY. `source`: the file's name, for messages.

    `hooks`: names of those that there are; None: any will do.
    """
    return parse_files([(text, source)], now_us, hooks)


def parse_files(
    files: Iterable[tuple[str, str]], now_us: int, hooks: Collection[str] | None = None
) -> list[PolicySpec]:
    """The same of several: texts with their names."""
    now = datetime.fromtimestamp(now_us // 1_000_000, UTC)
    specs: list[PolicySpec] = []
    stands: dict[str, str] = {}
    for text, source in files:
        for root in documents(text, source):
            spec = _policy(root, now, hooks)
            if spec.name in stands:
                where = "the file twice" if stands[spec.name] == source else f"{stands[spec.name]} too"
                raise root.wrong(f"the policy {spec.name} stands in {where}")
            stands[spec.name] = source
            specs.append(spec)
    return specs


def _policy(root: Field, now: datetime, hooks: Collection[str] | None) -> PolicySpec:
    table = root.table(*TOP)
    schedule = table.need("schedule").table("cron", "every", "zone", "spread", "catch_up")
    every_seconds = _every(schedule)
    zone = ZoneInfo("UTC") if every_seconds and schedule.get("zone") is None else _zone(schedule.need("zone"))
    windows = table.get("windows")
    end, finish_seconds = _window_end(table, windows is not None)
    return PolicySpec(
        name=_name(table.need("policy")),
        repository=table.need("repository").text(),
        select=_selection(table.need("select")),
        cron="" if every_seconds else _cron(schedule.need("cron"), zone, now),
        zone=zone.key,
        spread_seconds=seconds_or_none(schedule.get("spread"), LONGEST_SPREAD_SECONDS, zero=True),
        catch_up_seconds=seconds_or_none(schedule.get("catch_up"), LONGEST_SECONDS),
        rpo_seconds=seconds_or_none(table.get("rpo"), LONGEST_SECONDS) or 0,
        windows=tuple(_window(each) for each in windows.items(MOST_WINDOWS)) if windows else (),
        window_end=end,
        finish_seconds=finish_seconds,
        retention=_retention(table.get("retention")),
        capture=_capture(table.get("capture")),
        paused=flag_of(table.get("paused")),
        every_seconds=every_seconds,
        hooks=hooks_of(table.get("hooks"), table.get("notify"), hooks),
        verify_seconds=_verify(table.get("verify")),
        tenant=_tenant(table.get("tenant")),
    )


def _name(field: Field) -> str:
    name = field.text(LONGEST_NAME)
    if not _NAME.fullmatch(name):
        raise field.wrong(
            f"{field.shown()} is no name of a policy: small letters, digits, and . _ - between them, {LONGEST_NAME} at most"
        )
    return name


def _tenant(field: Field | None) -> str:
    """ "": not said."""
    if field is None:
        return ""
    try:
        return check_tenant(field.text())
    except ValueError as error:
        raise field.wrong(
            f"{field.shown()} is no name of a tenant: 1 to 63 of a-z, 0-9 and hyphens between them"
        ) from error


def _zone(field: Field) -> ZoneInfo:
    try:
        return zone_named(field.text(), field.shown())
    except BadZone as error:
        raise field.wrong(str(error)) from error


def _cron(field: Field, zone: ZoneInfo, now: datetime) -> str:
    expression = " ".join(field.text(LONGEST_EXPRESSION).split())
    try:
        first = Calendar(expression, zone).after(now)
    except BadCalendar as error:
        raise field.wrong(f"{field.shown()} is no calendar: {error}") from error
    if first is None:
        raise field.wrong(f"{field.shown()} is never due: no time of the next five years fits it")
    return expression


def _every(schedule: Table) -> int:
    """0: by cron."""
    field = schedule.get("every")
    if field is None:
        return 0
    if schedule.get("cron") is not None:
        raise field.wrong("every and cron do not go together: leave one of them out")
    seconds = seconds_of(field, int(LONGEST_INTERVAL.total_seconds()))
    if seconds < SHORTEST_INTERVAL.total_seconds():
        raise field.wrong(f"{field.shown()} is too short: five minutes are the least")
    return seconds


def _selection(field: Field) -> Selection:
    table = field.table("all", *TERMS, "except")
    everything, terms = flag_of(table.get("all")), _terms(table)
    but = table.get("except")
    if everything and not terms.empty:
        raise field.wrong("all: true selects every VM; leave the other keys out, or put them under except")
    if not everything and terms.empty:
        raise field.wrong(f"nothing is selected; say all: true, or name VMs by {', '.join(TERMS)}")
    excepted = Terms()
    if but is not None:
        inner = but.table(*TERMS)
        if inner.empty:
            raise but.wrong("nothing is excepted; leave the key out, or name something")
        excepted = _terms(inner)
    return Selection(everything, terms, excepted)


def _terms(table: Table) -> Terms:
    pattern = table.get("name_regex")
    if pattern is not None:
        try:
            Pattern(pattern.text(LONGEST_PATTERN))
        except BadPattern as error:
            raise pattern.wrong(f"{pattern.shown()} is no pattern: {error}") from error
    return Terms(
        names=texts_of(table.get("names")),
        hosts=texts_of(table.get("hosts")),
        tags=texts_of(table.get("tags")),
        pattern=pattern.text(LONGEST_PATTERN) if pattern is not None else "",
    )


def _window(field: Field) -> Window:
    table = field.table("days", "from", "to")
    days = table.get("days")
    start, end = _minute(table.need("from")), _minute(table.need("to"))
    if start == DAY_MINUTES:
        raise field.wrong("a window begins at 00:00, not at 24:00")
    if start == end:
        raise field.wrong("a window that ends when it begins is none; a whole day is from: 00:00, to: 24:00")
    lasts = (end - start) % DAY_MINUTES or DAY_MINUTES
    if lasts < SHORTEST_WINDOW_MINUTES:
        raise field.wrong(
            f"a window of {lasts} min is shorter than any backup; {SHORTEST_WINDOW_MINUTES} min are the least. Windows that touch can be "
            "written as one"
        )
    return Window(_days(days.items(7)) if days else tuple(range(7)), start, end)


def _days(fields: Iterable[Field]) -> tuple[int, ...]:
    found: set[int] = set()
    for field in fields:
        first, _, last = field.text().lower().partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise field.wrong(f"{field.shown()} is no day: mon, tue, wed, thu, fri, sat, sun, or mon-fri")
        day = DAYS.index(first)
        found.add(day)
        while last and DAYS[day] != last:
            day = (day + 1) % 7
            found.add(day)
    return tuple(sorted(found))


def _minute(field: Field) -> int:
    match = _CLOCK.fullmatch(field.text())
    minute = int(match[1]) * 60 + int(match[2]) if match else -1
    if not 0 <= minute <= DAY_MINUTES:
        raise field.wrong(f"{field.shown()} is no time of day such as 22:00")
    return minute


def _window_end(table: Table, windows: bool) -> tuple[WindowEnd, int]:
    """`finish_current: 2h` says how long what runs may go on."""
    field = table.get("window_end")
    if field is None:
        return WindowEnd.NO_NEW_STARTS, 0
    if not windows:
        raise field.wrong("there are no windows that could end")
    known = f"{', '.join(word for word in WINDOW_ENDS if word != 'finish_current')}, or finish_current: 2h"
    try:
        word = field.text()
    except InvalidArgument:
        seconds = seconds_of(field.table("finish_current").need("finish_current"), LONGEST_SECONDS)
        return WindowEnd.FINISH_CURRENT, seconds
    if word not in WINDOW_ENDS or WINDOW_ENDS[word] is WindowEnd.FINISH_CURRENT:
        raise field.wrong(f"{field.shown()} is not one of {known}")
    return WINDOW_ENDS[word], 0


def _retention(field: Field | None) -> Retention:
    if field is None:
        return Retention()
    table = field.table(*RULES, "within")
    if table.empty:
        raise field.wrong("no rule keeps anything; leave the key out to keep every point")
    counts = {f"keep_{rule}": each.number(1, MOST_KEPT) for rule in RULES if (each := table.get(rule)) is not None}
    within = table.get("within")
    return Retention(**counts, keep_within_us=seconds_of(within, 100 * LONGEST_SECONDS) * 1_000_000 if within else 0)


def _verify(field: Field | None) -> int:
    """0: not said."""
    if field is None:
        return 0
    seconds = seconds_of(field, LONGEST_SECONDS)
    if seconds < SHORTEST_VERIFY_SECONDS:
        raise field.wrong(f"{field.shown()} is too short: every point would be read back all the time; 1h is the least")
    return seconds


def _capture(field: Field | None) -> CaptureSettings:
    if field is None:
        return CaptureSettings()
    table = field.table(*CAPTURE)
    ceiling, longest, disks = table.get("latency_ceiling"), table.get("freeze_limit"), table.get("exclude_disks")
    rate, iops, quota = table.get("bytes_per_second"), table.get("iops"), table.get("scratch_quota")
    level = table.get("compression")
    settings = CaptureSettings(
        freeze=_freeze(table.get("freeze")),
        freeze_limit_ms=milliseconds_of(longest) if longest else None,
        latency_ceiling_ms=milliseconds_of(ceiling) if ceiling else None,
        bytes_per_second=bytes_of(rate) if rate else None,
        iops=iops.number(1, 1_000_000) if iops else None,
        exclude_disks=texts_of(disks) if disks else None,
        scratch_quota_bytes=bytes_of(quota) if quota else None,
        compression=level.number(1, 19) if level else None,
    )
    try:
        check_capture(settings)
    except InvalidArgument as error:
        raise field.wrong(str(error)) from error
    return settings


def _freeze(field: Field | None) -> FreezePolicy | None:
    if field is None:
        return None
    if field.text() not in _FREEZE:
        raise field.wrong(f"{field.shown()} is not one of {', '.join(_FREEZE)}")
    return _FREEZE[field.text()]
