"""What is allowed and was probably not meant: told when a policy is applied or previewed. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice, pairwise

from seawall.controller.policies.compiled import CompiledSpec
from seawall.controller.policies.render import span_text
from seawall.controller.policies.selection import Seen, unmatched
from seawall.controller.records.fleet import Vm

FIRINGS = 50
SHORT_WINDOW = timedelta(minutes=10)
MOST_NAMED = 5


def doubts(
    rules: CompiledSpec, fleet: Sequence[Seen], protected: Sequence[Vm], durations_us: Mapping[str, int], now: datetime
) -> list[str]:
    """Sentences. `protected`: the VMs that it selects; `durations_us`: how long their last good backups took, as far as known."""
    firings = list(islice(rules.calendar.firings(now), FIRINGS))
    found = [
        *_of_selection(rules, fleet, protected),
        *_of_windows(rules, firings, durations_us, now),
        *_of_rpo(rules, firings),
    ]
    return found


def _of_selection(rules: CompiledSpec, fleet: Sequence[Seen], protected: Sequence[Vm]) -> Iterator[str]:
    if not protected:
        yield "It selects no VM at the moment."
    strange = [*unmatched(rules.spec.select.terms, fleet), *unmatched(rules.spec.select.but, fleet)]
    if strange:
        more = f" and {len(strange) - MOST_NAMED} more" if len(strange) > MOST_NAMED else ""
        yield f"No VM has this now: {', '.join(strange[:MOST_NAMED])}{more}."
    excluded = set(rules.spec.capture.exclude_disks or ()) - {disk.disk for vm in protected for disk in vm.disks}
    if excluded and protected:
        yield f"None of its VMs has a disk {', '.join(sorted(excluded))}, which it leaves out."


def _of_windows(
    rules: CompiledSpec, firings: Sequence[datetime], durations_us: Mapping[str, int], now: datetime
) -> Iterator[str]:
    if not rules.spec.windows:
        return
    longest = rules.windows.longest(now)
    shortest_us = min(durations_us.values(), default=0)
    if longest < timedelta(microseconds=shortest_us):
        yield (
            f"Its longest window has {span_text(longest)}; the shortest of the last backups of its VMs took "
            f"{span_text(timedelta(microseconds=shortest_us))}."
        )
    elif longest < SHORT_WINDOW:
        yield f"Its longest window has only {span_text(longest)}."
    openings = [(firing, rules.windows.next_open(firing)) for firing in firings]
    if firings and all(found is None or found.start - firing > rules.catch_up for firing, found in openings):
        yield (
            "None of its next firings falls into a window, and none opens within "
            f"{span_text(rules.catch_up)} (schedule.catch_up) of one: nothing would ever be backed up."
        )


def _of_rpo(rules: CompiledSpec, firings: Sequence[datetime]) -> Iterator[str]:
    gaps = [later - earlier for earlier, later in pairwise(firings)]
    wanted = timedelta(seconds=rules.spec.rpo_seconds)
    if wanted and gaps and max(gaps) > wanted:
        yield f"Up to {span_text(max(gaps))} lie between its firings, more than its rpo of {span_text(wanted)}."
