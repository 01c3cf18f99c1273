"""What is allowed and was probably not meant: told when a policy is applied or previewed. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice, pairwise

from seawall.controller.policies.compiled import LOOKED_AHEAD, CompiledSpec
from seawall.controller.policies.render import span_text
from seawall.controller.policies.selection import Seen, unmatched
from seawall.controller.records.fleet import Vm
from seawall.controller.records.policies import WindowEnd

SHORT_WINDOW = timedelta(minutes=10)
MOST_NAMED = 5


def doubts(
    rules: CompiledSpec,
    fleet: Sequence[Seen],
    protected: Sequence[Vm],
    durations_us: Mapping[str, int],
    now: datetime,
    cut_off: Collection[str] = (),
) -> list[str]:
    """Sentences. `protected`: the VMs that it selects; `durations_us`: how long their last good backups took, as far as known;
    `cut_off`: ids of VMs whose last backups its windows ended.
    """
    firings = list(islice(rules.calendar.firings(now), LOOKED_AHEAD))
    found = [
        *_of_selection(rules, fleet, protected),
        *_of_windows(rules, firings, durations_us, now),
        *_of_cut_off(rules, protected, durations_us, cut_off, now),
        *_of_rpo(rules, firings),
    ]
    return found


def _of_selection(rules: CompiledSpec, fleet: Sequence[Seen], protected: Sequence[Vm]) -> Iterator[str]:
    if not protected:
        yield "It selects no VM at the moment."
    strange = [*unmatched(rules.spec.select.terms, fleet), *unmatched(rules.spec.select.but, fleet)]
    if strange:
        yield f"No VM has this now: {_some(strange)}."
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
    if firings and rules.next_in_time(now) is None:
        yield (
            "None of its next firings falls into a window, and none opens within "
            f"{span_text(rules.catch_up)} (schedule.catch_up) of one: nothing would ever be backed up."
        )


def _of_cut_off(
    rules: CompiledSpec,
    protected: Sequence[Vm],
    durations_us: Mapping[str, int],
    cut_off: Collection[str],
    now: datetime,
) -> Iterator[str]:
    """Runs that a window ends leave no point, and those of the next night are no shorter."""
    if not rules.spec.windows or rules.spec.window_end is WindowEnd.NO_NEW_STARTS:
        return
    ended = sorted(vm.name for vm in protected if vm.id in cut_off)
    if ended:
        yield (
            f"Its windows ended the last backups of {len(ended)} of its VMs before they were done: {_some(ended)}. A longer window, or "
            "window_end: no_new_starts, would let them."
        )
    lasts = rules.windows.longest(now) + timedelta(seconds=rules.spec.finish_seconds)
    slow = {vm_id for vm_id, took_us in durations_us.items() if timedelta(microseconds=took_us) > lasts}
    names = sorted(vm.name for vm in protected if vm.id in slow and vm.id not in cut_off)
    # Of all of them `_of_windows` says it.
    if names and len(slow) < len(durations_us):
        yield (
            f"The last backups of {len(names)} of its VMs took longer than the {span_text(lasts)} after which its longest window ends a "
            f"run: {_some(names)}."
        )


def _some(names: Sequence[str]) -> str:
    """The first few."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


def _of_rpo(rules: CompiledSpec, firings: Sequence[datetime]) -> Iterator[str]:
    gaps = [later - earlier for earlier, later in pairwise(firings)]
    wanted = timedelta(seconds=rules.spec.rpo_seconds)
    if wanted and gaps and max(gaps) > wanted:
        yield f"Up to {span_text(max(gaps))} lie between its firings, more than its rpo of {span_text(wanted)}."
