"""Policy files: what is read from them, what is written back, and errors that name line and field."""

import time
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.controller.errors import InvalidArgument
from seawall.controller.forgetting.retention import Policy as Retention
from seawall.controller.policies.document import parse_files, parse_policies
from seawall.controller.policies.render import difference, document_of
from seawall.controller.policies.too_large import too_large
from seawall.controller.policies.zones import zones
from seawall.controller.records.hooks import Event, HookOrder, OnFailure, PolicyHooks
from seawall.controller.records.policies import PolicySpec, Selection, Terms, Window, WindowEnd
from seawall.controller.records.runs import FreezePolicy
from seawall.controller.records.settings import CaptureSettings

NOW_US = 1_795_000_000_000_000
FULL = """# a comment
policy: nightly
repository: main
select:
  hosts: [alpha, 12]
  name_regex: "^db-[0-9]{1,3}$"
  except:
    tags: [scratch, no]
schedule:
  cron: "30  2 * * *"
  zone: Europe/Berlin
  spread: 20m
  catch_up: 2d
windows:
  - {days: [mon-fri], from: 22:00, to: 06:00}
  - days: sat-mon
    from: 00:00
    to: 24:00
window_end: {finish_current: 1h30m}
rpo: 1d
retention: {last: 3, daily: 14, within: 6w}
capture:
  freeze: require
  freeze_limit: 4s
  latency_ceiling: 15ms
  bytes_per_second: 50MiB
  iops: 500
  exclude_disks: vdb
  compression: 9
verify: 1w
"""
SPEC = PolicySpec(
    name="nightly",
    repository="main",
    select=Selection(False, Terms(hosts=("alpha", "12"), pattern="^db-[0-9]{1,3}$"), Terms(tags=("scratch", "no"))),
    cron="30 2 * * *",
    zone="Europe/Berlin",
    spread_seconds=1200,
    catch_up_seconds=2 * 86_400,
    rpo_seconds=86_400,
    windows=(Window((0, 1, 2, 3, 4), 22 * 60, 6 * 60), Window((0, 5, 6), 0, 24 * 60)),
    window_end=WindowEnd.FINISH_CURRENT,
    finish_seconds=5400,
    retention=Retention(keep_last=3, keep_daily=14, keep_within_us=42 * 86_400 * 1_000_000),
    capture=CaptureSettings(
        freeze=FreezePolicy.REQUIRE,
        freeze_limit_ms=4000,
        latency_ceiling_ms=15,
        bytes_per_second=50 << 20,
        iops=500,
        exclude_disks=("vdb",),
        compression=9,
    ),
    verify_seconds=7 * 86_400,
)
MINIMAL = """policy: p
repository: main
select: {all: true}
schedule: {cron: "0 3 * * *", zone: UTC}
"""


def parsed(text: str) -> list[PolicySpec]:
    return parse_policies(text, "f.yaml", NOW_US)


def refused(text: str) -> str:
    with pytest.raises(InvalidArgument) as caught:
        parsed(text)
    assert caught.value.reason == "BAD_POLICY"
    assert len(str(caught.value)) < 500
    return str(caught.value)


def test_everything_that_a_file_may_say() -> None:
    assert parsed(FULL) == [SPEC]


def test_a_calendar_of_equal_steps_needs_no_zone() -> None:
    (spec,) = parsed(MINIMAL.replace('cron: "0 3 * * *", zone: UTC', "every: 4h"))
    assert (spec.every_seconds, spec.cron, spec.zone) == (4 * 3600, "", "UTC")
    assert parsed(document_of(spec)) == [spec] and "every: 4h" in document_of(spec)


HOOKS = """hooks:
  before: {run: [quiesce, mount], timeout: 2m, on_failure: skip}
  after: {run: report}
notify: {run: oncall, timeout: 10s, events: [recovered, failed]}
"""


def test_hooks_are_named_and_written_back() -> None:
    (spec,) = parsed(MINIMAL + HOOKS)
    assert spec.hooks == PolicyHooks(
        HookOrder(("quiesce", "mount"), 120),
        OnFailure.SKIP,
        HookOrder(("report",)),
        HookOrder(("oncall",), 10),
        (Event.FAILED, Event.RECOVERED),
    )
    assert parsed(document_of(spec)) == [spec]
    assert parsed(MINIMAL)[0].hooks == PolicyHooks() and "hooks" not in document_of(parsed(MINIMAL)[0])


@pytest.mark.parametrize(
    ("line", "by", "number", "field", "words"),
    [
        ("run: report", "run: reprot", 7, "hooks.after.run", "no hook 'reprot'"),
        ("quiesce, mount", "quiesce, /bin/sh", 6, "hooks.before.run[2]", "no hook '/bin/sh'"),
        ("quiesce, mount", "quiesce, quiesce", 6, "hooks.before.run", "twice"),
        ("timeout: 2m", "timeout: 6m", 6, "hooks.before", "600 s at most"),
        ("timeout: 2m", "timeout: 0", 6, "hooks.before.timeout", "no time"),
        ("on_failure: skip", "on_failure: ignore", 6, "hooks.before.on_failure", "fail, skip, continue"),
        ("after: {run: report}", "after: {}", 7, "hooks.after", "run is missing"),
        ("after: {run: report}", "after: {run: report, on_failure: skip}", 7, "hooks.after", "unknown key"),
        ("[recovered, failed]", "[recovered]", 8, "notify.events", "recovered from what"),
        ("[recovered, failed]", "[late]", 8, "notify.events[1]", "failed, missed, rpo, damaged, recovered"),
        ("timeout: 10s", "url: http://x/", 8, "notify", "unknown key"),
    ],
)
def test_hooks_that_make_no_sense(line: str, by: str, number: int, field: str, words: str) -> None:
    text = (MINIMAL + HOOKS).replace(line, by)
    known = {"quiesce", "mount", "report", "oncall"}
    with pytest.raises(InvalidArgument) as caught:
        parse_policies(text, "f.yaml", NOW_US, known)
    assert str(caught.value).startswith(f"f.yaml, line {number}, {field}: ") and words in str(caught.value)
    parse_policies(MINIMAL + HOOKS, "f.yaml", NOW_US, known)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("often", "no time such as"),
        ("0", "no time"),
        ("0d", "zero makes no sense"),
        ("59m", "1h is the least"),
        ("90000500ms", "whole seconds"),
        ("11y", "longer than"),
        ("{every: 7d}", "a"),
    ],
)
def test_a_cadence_of_verification_that_makes_no_sense(value: str, words: str) -> None:
    told = refused(f"{MINIMAL}verify: {value}\n")
    assert told.startswith("f.yaml, line 5, verify: ") and words in told
    (spec,) = parsed(f"{MINIMAL}verify: 1h")
    assert spec.verify_seconds == 3600 and "verify: 1h\n" in document_of(spec)
    assert parsed(MINIMAL)[0].verify_seconds == 0 and "verify" not in document_of(parsed(MINIMAL)[0])


def test_several_policies_of_one_file() -> None:
    second = MINIMAL.replace("policy: p", "policy: q")
    assert [spec.name for spec in parsed(f"---\n{MINIMAL}---\n{second}---\n")] == ["p", "q"]
    assert "twice" in refused(f"{MINIMAL}---\n{MINIMAL}")


def test_what_is_written_reads_as_the_same_policy() -> None:
    assert parsed(document_of(SPEC)) == [SPEC]
    assert difference(document_of(SPEC), document_of(SPEC)) == []


words = st.text(st.characters(categories=("L", "N", "P"), exclude_characters="\u2028\u2029"), min_size=1, max_size=20)
lists = st.lists(words, max_size=3, unique=True).map(tuple)
counts = st.integers(0, 50)


@st.composite
def specs(draw: st.DrawFn) -> PolicySpec:
    terms = st.builds(Terms, names=lists, hosts=lists, tags=lists, pattern=st.sampled_from(("", "db-.*", "a|b")))
    everything = draw(st.booleans())
    wanted = Terms() if everything else draw(terms.filter(lambda found: not found.empty))
    end = draw(st.sampled_from(WindowEnd))
    window = st.builds(
        Window,
        st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
        st.integers(0, 1439),
        st.integers(0, 1440),
    ).filter(
        lambda found: found.start_minute != found.end_minute and (found.end_minute - found.start_minute - 1) % 1440 >= 4
    )
    windows = tuple(draw(st.lists(window, min_size=end is not WindowEnd.NO_NEW_STARTS, max_size=3)))
    seconds = st.none() | st.integers(1, 100_000)
    return PolicySpec(
        name=draw(st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,20}[a-z0-9])?", fullmatch=True)),
        repository=draw(words),
        select=Selection(everything, wanted, draw(terms)),
        cron=draw(st.sampled_from(("*/5 * * * *", "0 3 * * MON-FRI", "15 4 1 * *"))),
        zone=draw(st.sampled_from(("UTC", "Asia/Kathmandu"))),
        spread_seconds=draw(st.none() | st.integers(0, 80_000)),
        catch_up_seconds=draw(seconds),
        rpo_seconds=draw(seconds) or 0,
        windows=windows,
        window_end=end,
        finish_seconds=draw(st.integers(1, 90_000)) if end is WindowEnd.FINISH_CURRENT else 0,
        retention=draw(st.builds(Retention, counts, counts, counts, counts, counts, counts)),
        capture=draw(st.builds(CaptureSettings, freeze=st.none() | st.sampled_from(FreezePolicy))),
        paused=draw(st.booleans()),
    )


@given(specs())
@settings(max_examples=50, deadline=None)
def test_every_policy_survives_its_own_document(spec: PolicySpec) -> None:
    assert parsed(document_of(spec)) == [spec]


def changed(line: str, by: str) -> str:
    assert line in FULL
    return FULL.replace(line, by)


@pytest.mark.parametrize(
    ("line", "by", "number", "field", "words"),
    [
        ("rpo: 1d", "rop: 1d", 20, "", "unknown key 'rop'; known are policy, repository"),
        ("rpo: 1d", "rpo: 0d", 20, "rpo", "zero"),
        ("rpo: 1d", "rpo: 3 months", 20, "rpo", "months have no fixed length"),
        ("rpo: 1d", "rpo: 99999999y", 20, "rpo", "longer than"),
        ("rpo: 1d", "policy: again", 20, "", "stands here twice"),
        ("zone: Europe/Berlin", "zone: Europe/Berln", 11, "schedule.zone", "no time zone 'Europe/Berln'"),
        ("zone: Europe/Berlin", "zone: localtime", 11, "schedule.zone", "not the same zone on each machine"),
        ("zone: Europe/Berlin", "zone: Factory", 11, "schedule.zone", "not the same zone on each machine"),
        ("zone: Europe/Berlin", "zone: berlin", 11, "schedule.zone", "Did you mean Europe/Berlin"),
        ("zone: Europe/Berlin", "zone: ../../etc/passwd", 11, "schedule.zone", "no time zone"),
        ('cron: "30  2 * * *"', 'cron: "0 0 31 2 *"', 10, "schedule.cron", "no calendar"),
        ('cron: "30  2 * * *"', 'cron: "* * */30 2 MON#5"', 10, "schedule.cron", "never due"),
        ('cron: "30  2 * * *"', "cron: daily", 10, "schedule.cron", "five fields"),
        ('cron: "30  2 * * *"', "", 11, "schedule", "the key cron is missing"),
        ('cron: "30  2 * * *"', "every: 1m", 10, "schedule.every", "five minutes are the least"),
        ('cron: "30  2 * * *"', "every: 400d", 10, "schedule.every", "longer than"),
        ("catch_up: 2d", "every: 4h", 13, "schedule.every", "do not go together"),
        ("compression: 9", "compression: 20", 29, "capture.compression", "from 1 to 19"),
        ('name_regex: "^db-[0-9]{1,3}$"', 'name_regex: "(db"', 6, "select.name_regex", "a ( without its )"),
        ("hosts: [alpha, 12]", "hosts: []", 5, "select.hosts", "the list is empty"),
        ("hosts: [alpha, 12]", "hosts: [alpha, {}]", 5, "select.hosts[2]", "a single value"),
        ("hosts: [alpha, 12]", "hosts: [alpha, ~]", 5, "select.hosts[2]", "missing"),
        ("hosts: [alpha, 12]", "all: true", 5, "select", "selects every VM"),
        ("last: 3", "last: 0", 21, "retention.last", "'0' is not a whole number from 1"),
        ("last: 3", "last: -3", 21, "retention.last", "not a whole number"),
        ("last: 3", "last: 99999999999999999999999", 21, "retention.last", "not a whole number"),
        ("retention: {last: 3, daily: 14, within: 6w}", "retention: {}", 21, "retention", "no rule keeps anything"),
        ("iops: 500", "iops: 0", 27, "capture.iops", "from 1 to"),
        ("bytes_per_second: 50MiB", "bytes_per_second: 0", 26, "capture.bytes_per_second", "zero is none"),
        ("bytes_per_second: 50MiB", "bytes_per_second: 1", 23, "capture", "must lie between"),
        ("freeze: require", "freeze: sometimes", 23, "capture.freeze", "never, try, require"),
        ("from: 22:00", "from: 06:00", 15, "windows[1]", "a whole day is from: 00:00, to: 24:00"),
        ("from: 22:00", "from: 05:56", 15, "windows[1]", "a window of 4 min is shorter than any backup"),
        ("to: 24:00", "to: 00:04", 16, "windows[2]", "5 min are the least"),
        ("from: 22:00", "from: 25:00", 15, "windows[1].from", "no time of day"),
        ("from: 22:00, ", "", 15, "windows[1]", "the key from is missing"),
        ("[mon-fri]", "[monday]", 15, "windows[1].days[1]", "no day"),
        ("{finish_current: 1h30m}", "finish_current", 19, "window_end", "finish_current: 2h"),
        ("policy: nightly", "policy: Nightly Run", 2, "policy", "no name of a policy"),
        ("policy: nightly", f"policy: {'x' * 200_000}", 2, "policy", "200000 characters are too many"),
        ("hosts: [alpha, 12]", f"hosts: [{'x' * 200_000}]", 5, "select.hosts[1]", "too many"),
        ("repository: main", "repository: &a main", 3, "", "anchors"),
        ("repository: main", "repository: !!python/object:os.system main", 3, "", "tags (!)"),
        ("repository: main", "repository: {{{{{{{{{{x: y}}}}}}}}}}", 3, "", "too deep"),
        ("repository: main", "repository: 'main", 3, "", "not YAML"),
        ("repository: main", "repository: [a", 4, "", "not YAML"),
        ("repository: main", "- repository", 3, "", "not YAML"),
        ("repository: main", "repository: ma\x00in", 3, "", "the character U+0000"),
        ("repository: main", "# äöü€😀\nrepository: ma\x07in", 4, "", "the character U+0007"),
    ],
)  # fmt: skip
def test_errors_name_line_and_field(line: str, by: str, number: int, field: str, words: str) -> None:
    where = f"f.yaml, line {number}{f', {field}' if field else ''}: "
    found = refused(changed(line, by))
    assert found.startswith(where) or (words == "not YAML" and found.startswith("f.yaml, line ")), found
    assert words in found


@pytest.mark.parametrize(
    "text", ["", "---\n", "# nothing\n", "a\x00b", "[" * 100_000, "x: " * 1000, "\ud800", "- 1", "1"]
)
def test_what_is_no_policy_at_all(text: str) -> None:
    refused(text)


def test_a_million_characters_are_refused_at_once() -> None:
    begin = time.monotonic()
    told = refused(MINIMAL.replace("policy: p", f"policy: {'x' * 1_000_000}"))
    assert told.startswith("f.yaml, line 1, policy: ") and "256 KiB" in told
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    ("line", "by", "number", "field"),
    [
        ("repository: main", "repository: '{}'", 3, "repository"),
        ("tags: [scratch, no]", "tags: [no, {}]", 8, "select.except.tags"),
        ("hosts: [alpha, 12]", "hosts:\n  - alpha\n  - {}", 7, "select.hosts"),
        ("zone: Europe/Berlin", "zone: {}", 11, "schedule.zone"),
        ("to: 06:00}", "to: {}}}", 15, "windows.to"),
        ("from: 22:00", "from: {}", 15, "windows.from"),
        ("policy: nightly", "policy:\n  {}", 3, "policy"),
        ("policy: nightly", "---\npolicy: {}", 3, "policy"),
        ("policy: nightly", "{}: nightly", 2, ""),
    ],
)
def test_what_is_far_too_long_is_found_unparsed(line: str, by: str, number: int, field: str) -> None:
    assert line in FULL
    told = refused(FULL.replace(line, by.format("x" * 1_000_000)))
    assert told.startswith(f"f.yaml, line {number}{f', {field}' if field else ''}: more than 64 KiB in one line"), told


@pytest.mark.parametrize(
    "text", ["x" * 4_000_000, "[" * 4_000_000, ",a" * 2_000_000, "a:\n" * 1_000_000, "- " * 2_000_000]
)
def test_a_file_without_end_is_refused_at_once(text: str) -> None:
    begin = time.monotonic()
    assert too_large(text, "f.yaml").startswith("f.yaml, line 1")
    assert time.monotonic() - begin < 5


def test_several_files_are_one() -> None:
    other = MINIMAL.replace("policy: p", "policy: q")
    assert [spec.name for spec in parse_files([(MINIMAL, "a.yaml"), (other, "b.yaml")], NOW_US)] == ["p", "q"]
    for second, words in (
        (f"\n{MINIMAL}", "line 2: the policy p stands in a.yaml too"),
        ("rop: 1", "line 1: unknown key"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            parse_files([(MINIMAL, "a.yaml"), (second, "b.yaml")], NOW_US)
        assert str(caught.value).startswith(f"b.yaml, {words}")


def test_a_window_end_needs_windows() -> None:
    assert "no windows" in refused(MINIMAL + "window_end: cancel\n")


def test_an_example_of_the_help_is_a_policy(tmp_path: Path) -> None:
    from seawall.cli.commands.policy import apply_policies

    lines = (apply_policies.__doc__ or "").split("\b\n")[1].split("\n\n")[0]
    (spec,) = parsed("\n".join(line[6:] for line in lines.splitlines()))
    assert spec.select.but.tags == ("scratch",)


def test_a_policy_says_whose_its_vms_are() -> None:
    text = MINIMAL.replace("repository: main", "repository: main\ntenant: acme-1")
    (spec,) = parse_policies(text, "f.yaml", NOW_US)
    assert spec.tenant == "acme-1"
    assert parse_policies(document_of(spec), "f.yaml", NOW_US) == [spec]
    assert "tenant: acme-1" in document_of(spec)
    (without,) = parse_policies(MINIMAL, "f.yaml", NOW_US)
    assert without.tenant == "" and "tenant" not in document_of(without)


@pytest.mark.parametrize("name", ["Acme", "-acme", "acme-", "a_b", "[a, b]", "''", "a" * 64])
def test_a_tenant_without_a_proper_name(name: str) -> None:
    text = MINIMAL.replace("repository: main", f"repository: main\ntenant: {name}")
    line = text[: text.index("tenant:")].count("\n") + 1
    with pytest.raises(InvalidArgument) as caught:
        parse_policies(text, "f.yaml", NOW_US)
    assert str(caught.value).startswith(f"f.yaml, line {line}, tenant: ")


def test_zones_are_those_of_tzdata_whatever_the_machine_adds() -> None:
    """Another controller of the same database may lack what this one's /usr/share/zoneinfo has."""
    names = set(files("tzdata").joinpath("zones").read_text().split()) - {"Factory"}
    assert zones() == names and "Europe/Berlin" in names
    assert all(ZoneInfo(name) for name in names)
