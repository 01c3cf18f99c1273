"""Golden files: what policies do at given times. In tests/golden/policies NAME.yaml is what an operator writes, NAME.txt what follows.

After a change that is meant: `GOLDEN=write pytest tests/unit/test_policies_golden.py`, and read the difference.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from seawall.controller.forgetting.retention import Candidate, judge
from seawall.controller.policies.compiled import Compiled
from seawall.controller.policies.document import parse_policies
from seawall.controller.policies.forecast import Firing, firings
from seawall.controller.policies.render import duration
from seawall.controller.records.policies import Policy, PolicySpec
from seawall.controller.services.convert_policies import local_text
from support.controller_records import a_vm

FOLDER = Path(__file__).parent.parent / "golden" / "policies"
FILES = sorted(FOLDER.glob("*.yaml"))
VMS = [a_vm(f"vm-{number}", name=f"vm-{number}") for number in range(1, 4)]
TIMES = tuple(
    datetime.fromisoformat(f"{text}+00:00") for text in ("2026-03-28T12:30", "2026-04-04T12:30", "2026-10-24T23:40")
)
"""Shortly before clocks change in Europe, on Lord Howe, and in Europe again."""
JUDGED = TIMES[1:]
"""With clocks that changed a few days ago, and that changed for nobody in Europe in all of the history."""
FIRINGS = 5
HISTORY = 60


def us(when: datetime) -> int:
    return round(when.timestamp() * 1_000_000)


def points(compiled: Compiled, now: datetime) -> list[Candidate]:
    """As if the policy had run for two months; every seventh point is damaged."""
    past = [each for each in _past(compiled, now) if each < now][-HISTORY:]
    return [
        Candidate(f"{each:%Y-%m-%d %H:%M}Z", number, us(each), us(each), damaged=number % 7 == 3)
        for number, each in enumerate(past)
    ]


def _past(compiled: Compiled, now: datetime) -> Iterator[datetime]:
    for each in compiled.rules.calendar.firings(now - timedelta(days=62)):
        if each >= now:
            return
        yield each


def described(spec: PolicySpec) -> Iterator[str]:
    yield f"policy {spec.name}"
    if spec.verify_seconds:
        yield f"  reads each point back every {duration(spec.verify_seconds * 1000)}"
    for now in TIMES:
        compiled = Compiled.of(Policy("policy-1", 1, spec, "repository", us(now), us(now), us(now)))
        yield f"  at {now:%Y-%m-%d %H:%M}Z it is due"
        for firing in firings(compiled, VMS, now, FIRINGS):
            yield f"    {local_text(firing.nominal, compiled.rules.zone)}, {what_follows(firing, compiled)}"
    for now in JUDGED:
        yield f"  at {now:%Y-%m-%d %H:%M}Z its points"
        for verdict in judge(points(compiled, now), spec.retention, us(now), compiled.rules.zone):
            yield f"    {verdict.id} {'stays' if verdict.keep else 'goes'}: {', '.join(verdict.reasons)}"


def what_follows(firing: Firing, compiled: Compiled) -> str:
    if firing.first_start is None or firing.last_start is None:
        return firing.nothing
    assert not firing.nothing
    starts = [local_text(each, compiled.rules.zone) for each in (firing.first_start, firing.last_start)]
    return f"starts {starts[0]} to {starts[1]}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_does_what_the_golden_file_says(file: Path) -> None:
    specs = parse_policies(file.read_text(), file.name, us(datetime(2026, 1, 1, tzinfo=UTC)))
    found = "\n".join(line for spec in specs for line in described(spec)) + "\n"
    golden = file.with_suffix(".txt")
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(found)
    assert found == golden.read_text()


def test_each_policy_has_its_golden_file_and_the_other_way_round() -> None:
    assert {file.stem for file in FILES} == {file.stem for file in FOLDER.glob("*.txt")}
