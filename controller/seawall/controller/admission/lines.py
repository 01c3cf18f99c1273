"""READY runs in the order in which they are tried, kept from one plan to the next: what changed is put in its place. Pure values.

One line for each class, tenant and objective. Inside a line the order does not depend on the time, so that only runs and VMs that changed
move; between lines of a tenant it does, and is made anew in each plan.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from seawall.controller.admission.candidates import AdmissionClass, Candidate, candidate_of
from seawall.controller.admission.facts import FleetFacts
from seawall.controller.records.runs import Run


class LineKey(NamedTuple):
    admission: AdmissionClass
    tenant: str
    objective_us: int


@dataclass(frozen=True, slots=True)
class Lines:
    """Each line sorted; none is empty."""

    of: Mapping[LineKey, Sequence[Candidate]] = field(default_factory=dict)

    def changed(self, gone: Iterable[Candidate], come: Iterable[Candidate]) -> "Lines":
        """Without those, with these. Lines that neither touches are shared."""
        going: dict[LineKey, set[str]] = {}
        coming: dict[LineKey, list[Candidate]] = {}
        for each in gone:
            going.setdefault(key_of(each), set()).add(each.run_id)
        for each in come:
            coming.setdefault(key_of(each), []).append(each)
        if not going and not coming:
            return self
        lines = dict(self.of)
        for key in going.keys() | coming.keys():
            left = going.get(key, ())
            line = [each for each in lines.pop(key, ()) if each.run_id not in left] + coming.get(key, [])
            if line:
                lines[key] = tuple(sorted(line))
        return Lines(lines)

    def without(self, run_ids: Collection[str]) -> "Lines":
        """Looks at everybody."""
        return self.changed((each for line in self.of.values() for each in line if each.run_id in run_ids), ())


def key_of(candidate: Candidate) -> LineKey:
    return LineKey(candidate.admission, candidate.tenant, candidate.objective_us)


def lines_of(runs: Iterable[Run], facts: FleetFacts) -> Lines:
    """From nothing."""
    return Lines().changed((), (candidate_of(run, facts.vms, facts.newest_us, facts.objectives_us) for run in runs))
