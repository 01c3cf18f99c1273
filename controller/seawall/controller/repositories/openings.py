"""Which repositories are being opened now: since when, what is waited for, and what an operator can do. For `status` and `repo show`.

Kept in memory, as it is true of now alone. No try is ended from here: each request to a server has a deadline of its own (deadline.py of
the stores), and an index that is rebuilt may take hours.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from seawall.controller.errors import ControllerError
from seawall.controller.records.catalogue import RepositoryRecord
from seawall.controller.repositories.outside import controller_error, next_step
from seawall.repository.clock import Clock, datetime_of
from seawall.repository.errors import RepositoryError
from seawall.repository.store.deadline import CALL_SECONDS

QUIET_SECONDS = 2.0
"""Of a first try nothing is told sooner: usually it is over by then."""
FIRST = "its config and keys"
INDEX = "the tables of packs that the chunk index lacks"

_OF_A_SERVER = (
    "If that goes on, check the store, and that the controller reaches it: a request that gets no answer is given up after "
    f"{CALL_SECONDS:.0f} s, and the opening begins anew by itself."
)
_OF_A_FOLDER = (
    "If that goes on, check on the controller's machine whether the folder's file system answers: one that hangs is waited for without "
    "end, and the opening goes on once it answers."
)
_OF_AN_INDEX = "After the index was lost this takes as long as there are packs; it goes on by itself."

Awaits = Callable[[str], None]
"""Told what is waited for from now on, before it is."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Of one repository that is not open yet. Monotonic seconds, but for `since_us`: when the first try began.

    `awaited`: what the present try waits for since `asked`, or what the last one failed at: then `ended` says how, with a next step.
    """

    since_us: int
    begun: float
    asked: float
    folder: bool
    tries: int = 1
    awaited: str = FIRST
    under_way: bool = True
    ended: str = ""

    def sentence(self, now: float) -> str:
        """ "" where there is nothing to tell yet."""
        if not self.ended and now - self.begun < QUIET_SECONDS:
            return ""
        return f"opening since {datetime_of(self.since_us):%Y-%m-%d %H:%M:%S} UTC: {self._present(now)}"

    def _present(self, now: float) -> str:
        if not self.under_way:
            return f"the last try ({self.tries}) ended at {self.awaited}: {self.ended}"
        waits = f"for {now - self.asked:.0f} s now it waits for {self.awaited}."
        if self.ended:
            return f"{waits} The try before ended: {self.ended}"
        return f"{waits} {_OF_AN_INDEX if self.awaited == INDEX else _OF_A_FOLDER if self.folder else _OF_A_SERVER}"


class Openings:
    """Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, Opening] = {}

    @contextmanager
    def of(self, record: RepositoryRecord) -> Iterator[Awaits]:
        """Around one try."""
        self._begin(record)
        try:
            yield lambda awaited: self._awaits(record.id, awaited)
        except RepositoryError as error:
            self._failed(record.id, controller_error(error))
            raise
        except ControllerError as error:
            self._failed(record.id, error)
            raise
        except BaseException:
            self._note(record.id, under_way=False, ended="an error of its own; the controller's log has it.")
            raise
        with self._lock:
            self._known.pop(record.id, None)

    def told(self, repository_id: str) -> tuple[int, str]:
        """(since when in microseconds, a sentence with a next step); (0, "") where it is open, or nothing is to be told."""
        with self._lock:
            known = self._known.get(repository_id)
        sentence = known.sentence(self._clock.monotonic_seconds()) if known else ""
        return (known.since_us, sentence) if known and sentence else (0, "")

    def _begin(self, record: RepositoryRecord) -> None:
        now = self._clock.monotonic_seconds()
        with self._lock:
            known = self._known.get(record.id)
            if known is None:
                self._known[record.id] = Opening(self._clock.now_us(), now, now, record.url.startswith("file:"))
            else:
                tries = known.tries + 1
                self._known[record.id] = replace(known, tries=tries, asked=now, awaited=FIRST, under_way=True)

    def _awaits(self, repository_id: str, awaited: str) -> None:
        self._note(repository_id, awaited=awaited, asked=self._clock.monotonic_seconds())

    def _failed(self, repository_id: str, error: ControllerError) -> None:
        told = f"{str(error).rstrip('.')} ({error.reason}). {next_step(error.reason)}"
        self._note(repository_id, under_way=False, ended=told)

    def _note(self, repository_id: str, **fields: object) -> None:
        with self._lock:
            self._known[repository_id] = replace(self._known[repository_id], **fields)  # type: ignore[arg-type]
