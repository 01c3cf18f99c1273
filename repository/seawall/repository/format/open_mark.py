"""Open marks `v1/c/open/<epoch>-<number>`: what of all leaders before still counts, as the leader of this epoch found it (rule 5).

header | length u32 | statement (canonical JSON) | points x 16 | leaving x 16 | logs x (seq u64 | epoch u64) | Ed25519 signature (64)

The signature is over domain + all before. Points are their ids, logs the two numbers of their names; each list is sorted, nothing twice.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

from seawall.repository.crypto.signing import OPEN_DOMAIN, sign
from seawall.repository.errors import IntegrityError
from seawall.repository.format.altered import told_apart
from seawall.repository.format.canonical import from_canonical, to_canonical
from seawall.repository.format.descriptor import signed_part, with_descriptor
from seawall.repository.format.header import OPEN
from seawall.repository.format.record import LINEAGE_ID_BYTES

WHAT = "open mark"
MOST_POINTS = 1 << 24
"""256 MiB: 1,000 hosts with 20 VMs and 200 points of each are a quarter of it."""
MOST_LOGS = 1 << 20
OPEN_MARK_BYTES = 16 * (2 * MOST_POINTS + MOST_LOGS) + 4096

_ID_BYTES = 16
_LOG = struct.Struct("<QQ")

LogNumber = tuple[int, int]
"""(number, epoch) of a condemn log."""


@dataclass(frozen=True, slots=True)
class PointIds:
    """A set of point ids in 16 bytes each. `body`: sorted."""

    body: bytes = b""

    @classmethod
    def of(cls, point_ids: Iterable[str]) -> "PointIds":
        """Raises ValueError on what is no UUID."""
        return cls(b"".join(sorted({UUID(point_id).bytes for point_id in point_ids})))

    def __len__(self) -> int:
        return len(self.body) // _ID_BYTES

    def __contains__(self, point_id: str) -> bool:
        wanted = UUID(point_id).bytes
        found = bisect_left(range(len(self)), wanted, key=self._at)
        return found < len(self) and self._at(found) == wanted

    def __iter__(self) -> Iterator[str]:
        return (str(UUID(bytes=self._at(index))) for index in range(len(self)))

    def _at(self, index: int) -> bytes:
        return self.body[index * _ID_BYTES : (index + 1) * _ID_BYTES]


@dataclass(frozen=True, slots=True)
class OpenMark:
    """What of the epochs below `epoch` counts: the manifests of `points`, the tombstones of `leaving`, `logs`.

    `number`: of the try, from 1, as an opening that broke off is tried again under the same epoch. `leaving`: of the points, those whose
    deletion was decided and is not done; a tombstone of a point that is not among `points` needs no name, as its manifest counts no more.
    """

    lineage_id: bytes
    epoch: int
    number: int
    points: PointIds
    leaving: PointIds
    logs: frozenset[LogNumber]


@dataclass(frozen=True, slots=True)
class _Statement:
    lineage_id: bytes
    epoch: int
    number: int
    points: int
    leaving: int
    logs: int


def sign_open_mark(mark: OpenMark, signing_secret_key: bytes) -> bytes:
    """Raises ValueError on what could not be read again."""
    if len(mark.points) > MOST_POINTS or len(mark.leaving) > MOST_POINTS or len(mark.logs) > MOST_LOGS:
        raise ValueError(f"an open mark names at most {MOST_POINTS} points and {MOST_LOGS} condemn logs")
    if len(mark.lineage_id) != LINEAGE_ID_BYTES:
        raise ValueError(f"a lineage id has {LINEAGE_ID_BYTES} bytes")
    counts = len(mark.points), len(mark.leaving), len(mark.logs)
    front = with_descriptor(OPEN, to_canonical(_Statement(mark.lineage_id, mark.epoch, mark.number, *counts)))
    logs = b"".join(_LOG.pack(*number) for number in sorted(mark.logs))
    body = front + mark.points.body + mark.leaving.body + logs
    return body + sign(signing_secret_key, OPEN_DOMAIN, body)


def read_open_mark(body: bytes, signing_public_key: bytes) -> OpenMark:
    """Signature checked; repository and place are for the caller to compare. Raises IntegrityError, FormatUnsupported."""
    return told_apart(lambda read: _proven_mark(read, signing_public_key), body, WHAT)


def _proven_mark(body: bytes, signing_public_key: bytes) -> OpenMark:
    descriptor, start, end = signed_part(body, OPEN, OPEN_DOMAIN, signing_public_key, WHAT)
    said = from_canonical(_Statement, descriptor, f"{WHAT}'s statement")
    leaving_at = start + _ID_BYTES * said.points
    logs_at = leaving_at + _ID_BYTES * said.leaving
    if logs_at + _LOG.size * said.logs != end:
        raise IntegrityError(f"{WHAT}: {len(body)} bytes are not its length")
    points, leaving = _ids(body[start:leaving_at]), _ids(body[leaving_at:logs_at])
    logs = [(seq, epoch) for seq, epoch in _LOG.iter_unpack(body[logs_at:end])]
    if logs != sorted(set(logs)):
        raise IntegrityError(f"{WHAT}: its logs are not sorted")
    return OpenMark(said.lineage_id, said.epoch, said.number, points, leaving, frozenset(logs))


def _ids(body: bytes) -> PointIds:
    ids = [body[at : at + _ID_BYTES] for at in range(0, len(body), _ID_BYTES)]
    if any(later <= former for former, later in pairwise(ids)):
        raise IntegrityError(f"{WHAT}: its points are not sorted")
    return PointIds(body)
