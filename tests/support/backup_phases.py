"""The phases of a backup, each fixed by holding back the S3 request that it consists of."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.lab.answers import Run
from deploy.lab.fault_proxy.control import ActiveRule

from support.fault_fleet import FaultFleet

HOLD_SECONDS = 90


@dataclass(frozen=True)
class Phase:
    """A backup waits for this request of `method` to the objects of that class, or, with `answered`, for its answer."""

    name: str
    method: str
    objects: str
    answered: bool = False

    @contextmanager
    def held(self, faults: FaultFleet) -> Iterator[tuple[Run, ActiveRule]]:
        """A backup in this phase."""
        with faults.hold(self.method, self.objects, answered=self.answered) as rule:
            run = faults.back_up()
            rule.await_held(1, HOLD_SECONDS)
            yield run, rule


PARENT = Phase("reading the parent", "GET", "m")
TRANSFER = Phase("transferring", "PUT", "p")
HAND_IN = Phase("handing in", "PUT", "a")
REFMAP = Phase("before the refmap", "PUT", "r")
MANIFEST = Phase("before the manifest", "PUT", "m")
COMMITTED = Phase("after the manifest, before the answer", "PUT", "m", answered=True)
PHASES = (PARENT, TRANSFER, HAND_IN, REFMAP, MANIFEST, COMMITTED)
VALIDATED = (REFMAP, MANIFEST, COMMITTED)
"""The controller alone goes on with these."""
