"""Which steps there are, in which order, and which ones a chosen case needs before it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .measured import CASES, FOLDER, RESTORE, RGW


@dataclass(frozen=True)
class Step:
    """On this day the VM `vm` has the disk `image`."""

    case: str
    vm: str
    image: str


STEPS = (
    Step("full", "template", "base"),
    Step("clone", "web1", "clone"),
    Step("next_day", "web1", "next_day"),
    Step("rewritten", "web1", "rewritten"),
    Step("independent", "other", "independent"),
)
BITMAP = "next_day_bitmap"
EXTRAS = ("worker_peak", "controller_idle")
"""Not measured against anything."""
_NEEDED = {
    "clone": ("full",),
    "next_day": ("full", "clone"),
    "rewritten": ("full", "clone", "next_day"),
    "independent": ("full",),
    BITMAP: ("full", "clone", "next_day"),  # restic's next day is what it is measured against
    RESTORE: ("full", "clone", "next_day"),
}
RESTORED = "next_day"
"""The point whose restore is timed, when it was made; else the newest before it."""


@dataclass(frozen=True)
class Choice:
    """What to run: `cases` with all that they need, where, how often."""

    cases: tuple[str, ...]
    extras: tuple[str, ...]
    rounds: Mapping[str, int]
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def on(self, target: str) -> "Choice":
        """What of it is run there."""
        return replace(self, cases=tuple(case for case in self.cases if case not in self.left_out.get(target, ())))

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for step in STEPS if step.case in self.cases)

    @property
    def restored(self) -> str:
        made = [step.case for step in self.steps]
        return RESTORED if RESTORED in made else made[-1]


DEFAULT_ROUNDS = {RGW: 2, FOLDER: 1}
DEFAULT_LEFT_OUT = {FOLDER: ("rewritten", "independent")}
"""Three tools take three minutes for them, and half an hour is all there is."""


def choose(environment: Mapping[str, str] = os.environ) -> Choice:
    """From ROUNDS (a number), CASES (names with commas), ONLY (rgw or folder). Raises ValueError that says what is wrong."""
    wanted = [name for name in environment.get("CASES", "").replace(",", " ").split() if name]
    unknown = sorted(set(wanted) - {*CASES, *EXTRAS})
    if unknown:
        raise ValueError(f"CASES: there is no {', '.join(unknown)}; there are {', '.join((*CASES, *EXTRAS))}")
    only = environment.get("ONLY", "")
    if only not in ("", *DEFAULT_ROUNDS):
        raise ValueError(f"ONLY is {only!r}, not one of {', '.join(DEFAULT_ROUNDS)}")
    rounds = environment.get("ROUNDS", "")
    if rounds and not (rounds.isdecimal() and int(rounds) > 0):
        raise ValueError(f"ROUNDS is {rounds!r}, not a number above zero")
    often = {target: int(rounds or default) for target, default in DEFAULT_ROUNDS.items() if only in ("", target)}
    needed = {need for name in wanted for need in (name, *_NEEDED.get(name, ()))}
    cases = tuple(name for name in CASES if name in needed or not wanted)
    extras = tuple(name for name in EXTRAS if name in needed or not wanted)
    return Choice(cases, extras, often, {} if wanted else DEFAULT_LEFT_OUT)
