"""`make soak`: rounds from a seed on one laboratory, each judged when it is over; writes build/soak.json. 1 when anything is wrong."""

import argparse
import json
import random
import shutil
import time
from pathlib import Path

from deploy.lab.waiting import LabFailed

from .drawing import draw_round
from .judge import judge
from .planted import BUGS, hunt
from .points import Made, look_at
from .report import LABORATORY, Outcome, Report, keep, told
from .rounds import drop_points, play_round
from .stage import Stage, stage

BUILD = Path(__file__).resolve().parents[2] / "build"
RESULT = BUILD / "soak.json"
KEPT = BUILD / "soak"
ROUNDS = 20
KEPT_POINTS = 8
"""Of all rounds so many are looked at again at the end: later rounds have collected meanwhile."""


def seeds_of(seed: str, rounds: int) -> list[str]:
    """A seed with a round's number in it ("7/12") is that one round."""
    return [seed] if "/" in seed else [f"{seed}/{number}" for number in range(rounds)]


class Soak:
    """Rounds one after the other. `minutes`: no round begins later than that; 0 is no limit. `until_wrong`: nor after a wrong one."""

    def __init__(
        self, seed: str, rounds: int, minutes: float, result: Path = RESULT, *, until_wrong: bool = False
    ) -> None:
        self.report = Report(seed)
        self._until_wrong = until_wrong
        self._seeds = seeds_of(seed, rounds)
        self._deadline = time.monotonic() + minutes * 60 if minutes else float("inf")
        self._result = result
        self._kept: list[Made] = []
        self._dice = random.Random(f"kept {seed}")

    def run(self) -> Report:
        """All rounds. After one in which something is wrong the next begins on a new laboratory."""
        waiting = list(self._seeds)
        while waiting and self._goes_on():
            try:
                with stage() as on:
                    self._rounds_on(on, waiting)
            except LabFailed as failed:
                self.report.late.append(f"{LABORATORY}: {failed}")
                break
        self.report.write(self._result)
        return self.report

    def _goes_on(self) -> bool:
        found = any(one.findings.all for one in self.report.outcomes)
        return time.monotonic() < self._deadline and not (found and self._until_wrong)

    def _rounds_on(self, on: Stage, waiting: list[str]) -> None:
        """Until one is wrong, or the last is over."""
        self._kept = []
        good = True
        while good and waiting and self._goes_on():
            good = self._round(on, waiting.pop(0))
        if good:
            self._look_again(on)

    def _round(self, on: Stage, seed: str) -> bool:
        began = time.monotonic()
        plan = draw_round(seed)
        played = play_round(on, plan)
        outcome = Outcome(plan, judge(played.evidence), played, time.monotonic() - began)
        self.report.outcomes.append(outcome)
        self.report.write(self._result)
        print("\n".join(told(outcome)), flush=True)
        if outcome.findings.all:
            directory = KEPT / seed.replace("/", "-")
            shutil.rmtree(directory, ignore_errors=True)
            keep(outcome, directory)
            on.lab.save_logs(directory)
            return False
        self._keep_some(on, played.kept)
        return True

    def _keep_some(self, on: Stage, points: list[Made]) -> None:
        """A point or two of each round for the end; the others go."""
        self._kept += points
        self._dice.shuffle(self._kept)
        drop_points(on, self._kept[KEPT_POINTS:])
        del self._kept[KEPT_POINTS:]

    def _look_again(self, on: Stage) -> None:
        for made in self._kept:
            try:
                look = look_at(on, made)
            except LabFailed as failed:
                self.report.late.append(f"at the end: {failed}")
                continue
            wrong = {target: disk.wrong_bytes for target, disk in look.disks.items() if disk.wrong_bytes}
            missing = sorted(made.known.disks.keys() - look.disks.keys())
            self.report.late_wrong_bytes += sum(wrong.values())
            if wrong or missing:
                self.report.late.append(
                    f"point {made.point_id} of {made.vm}, looked at again: wrong {wrong}, missing {missing}"
                )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", default="1", help='"7" for the rounds 7/0, 7/1, ...; "7/12" for that one alone')
    parser.add_argument("--minutes", type=float, default=0, help="no round begins later; 0: no limit")
    parser.add_argument("--plan", action="store_true", help="only say what would be done")
    parser.add_argument("--planted", choices=sorted(BUGS), help="with this bug in the product; 0 when it is found")
    parser.add_argument("--until-wrong", action="store_true", help="no round after one that is wrong")
    parser.add_argument("--result", type=Path, default=RESULT, help="where the result is written")
    chosen = parser.parse_args(arguments)
    if chosen.plan:
        for seed in seeds_of(chosen.seed, chosen.rounds):
            print("\n".join(draw_round(seed).lines()))
        return 0
    if chosen.planted:
        return _hunted(chosen.planted, chosen)
    soak = Soak(chosen.seed, chosen.rounds, chosen.minutes, chosen.result, until_wrong=chosen.until_wrong)
    report = soak.run()
    print(json.dumps(report.as_json(), indent=2))
    if not report.points:
        print("WRONG: no point was compared")
    for sentence in report.late:
        print(f"WRONG: {sentence}")
    return 0 if report.good else 1


def _hunted(name: str, chosen: argparse.Namespace) -> int:
    words = ["--seed", chosen.seed, "--rounds", str(chosen.rounds), "--minutes", str(chosen.minutes)]
    found, how = hunt(name, words, KEPT / "planted")
    print(f"{name} ({BUGS[name].what}): {'found' if found else 'NOT FOUND'} after {how}")
    return 0 if found else 1
