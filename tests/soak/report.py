"""What is written down of a soak: build/soak.json, and for a round that is wrong all that helps to find out why."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .judge import Findings
from .plan_words import RoundPlan
from .rounds import Played

LABORATORY = "the laboratory failed"
"""So a sentence begins that says nothing of the product."""


@dataclass(frozen=True)
class Outcome:
    """Of one round."""

    plan: RoundPlan
    findings: Findings
    played: Played
    seconds: float


@dataclass
class Report:
    """Growing with each round. `late`: findings on points that were looked at again at the end."""

    seed: str
    outcomes: list[Outcome] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    late_wrong_bytes: int = 0

    @property
    def good(self) -> bool:
        """Where no point at all was compared nothing is: every backup may have failed, each for a reason that it told."""
        return self.points > 0 and not self.late and not any(one.findings.all for one in self.outcomes)

    @property
    def points(self) -> int:
        """That were restored and compared."""
        return sum(len(one.played.evidence.points) for one in self.outcomes)

    def as_json(self) -> dict[str, Any]:
        found = [one.findings for one in self.outcomes]
        runs = [run for one in self.outcomes for run in one.played.evidence.runs]
        faults = [
            str(fault).partition(" at ")[0] for one in self.outcomes for step in one.plan.steps for fault in step.faults
        ]
        return {
            "rounds": len(self.outcomes),
            "seed": self.seed,
            "points": self.points,
            "wrong_bytes": sum(one.wrong_bytes for one in found) + self.late_wrong_bytes,
            "wrong_points": [sentence for one in found for sentence in one.wrong_points] + self.late,
            "guest_write_errors": sum(len(one.write_errors) for one in found),
            "longest_freeze_ms": max((one.longest_freeze_ms for one in found), default=0),
            "longest_stall_ms": max((one.longest_stall_ms for one in found), default=0),
            "freezes_too_long": [sentence for one in found for sentence in one.freezes],
            "leftovers": [sentence for one in found for sentence in one.leftovers],
            "broken": [sentence.splitlines()[0] for one in found for sentence in one.broken],
            "runs": dict(Counter(f"{run.what} {run.state}" for run in runs)),
            "failed_runs": [
                f"{one.plan.seed}: {run.what}: {run.failure.get('reason', '')}"
                for one in self.outcomes
                for run in one.played.evidence.runs
                if run.state == "failed"
            ],
            "faults": dict(sorted(Counter(faults).items())),
            "failing_seeds": [one.plan.seed for one in self.outcomes if one.findings.all],
            "seconds": round(sum(one.seconds for one in self.outcomes)),
        }

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_json(), indent=2) + "\n")


def told(outcome: Outcome) -> list[str]:
    """Lines about a round: one when all is well, else everything and how to play it again."""
    found, looks = outcome.findings, outcome.played.evidence.points
    word = "ok" if not found.all else f"{len(found.all)} WRONG"
    parts = ", ".join(f"{name} {seconds:.0f}" for name, seconds in outcome.played.seconds.items())
    counts = f"{len(looks)} points, {outcome.seconds:.0f} s ({parts}), freeze {found.longest_freeze_ms} ms"
    first = f"round {outcome.plan.seed}: {word}; {counts}"
    if not found.all:
        return [first]
    return [
        first,
        *(f"  WRONG: {sentence}" for sentence in found.all),
        *(f"    {line}" for line in (*outcome.plan.lines(), *outcome.played.history)),
        f"replay: make soak ROUNDS=1 SEED={outcome.plan.seed}",
    ]


def keep(outcome: Outcome, directory: Path) -> None:
    """The story of a round and what its guests said, beside the logs that the laboratory saves there."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "round.txt").write_text("\n".join(told(outcome)) + "\n")
    for guest in outcome.played.evidence.guests:
        lines = [f"{line.at:.2f} {line.text}" for line in guest.lines]
        (directory / f"{guest.name}.said").write_text(
            "\n".join([*lines, f"absent {guest.absent}", f"deaf {guest.deaf}"]) + "\n"
        )
