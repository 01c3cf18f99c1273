"""What a check found: one finding an object, with the points that it costs and what to do. Bounded, whatever is damaged."""

from dataclasses import dataclass, replace
from enum import StrEnum

from seawall.repository.errors import FormatUnsupported
from seawall.repository.format.layout import PointName, manifest_name

FINDINGS_KEPT = 1000
POINTS_KEPT = 20
POINTS_KNOWN = 1000


class Reason(StrEnum):
    """Stable words; clients switch on them."""

    MANIFEST_MISSING = "MANIFEST_MISSING"
    MANIFEST_DAMAGED = "MANIFEST_DAMAGED"
    POINT_UNKNOWN = "POINT_UNKNOWN"
    POINT_VOID = "POINT_VOID"
    TOMBSTONE_VOID = "TOMBSTONE_VOID"
    REFMAP_MISSING = "REFMAP_MISSING"
    REFMAP_DAMAGED = "REFMAP_DAMAGED"
    REFMAP_DIFFERS = "REFMAP_DIFFERS"
    NODE_DAMAGED = "NODE_DAMAGED"
    PAGE_DAMAGED = "PAGE_DAMAGED"
    MEMBER_DAMAGED = "MEMBER_DAMAGED"
    ENTRY_DIFFERS = "ENTRY_DIFFERS"
    KEYS_MISSING = "KEYS_MISSING"
    NEEDS_UPGRADE = "NEEDS_UPGRADE"
    PACK_UNKNOWN = "PACK_UNKNOWN"
    PACK_MISSING = "PACK_MISSING"
    PACK_FOREIGN = "PACK_FOREIGN"
    PACK_DAMAGED = "PACK_DAMAGED"
    CHUNKS_DAMAGED = "CHUNKS_DAMAGED"
    CHUNKS_FALSE = "CHUNKS_FALSE"
    COPY_MISSING = "COPY_MISSING"
    COPY_DAMAGED = "COPY_DAMAGED"
    OLDER_ALTERED = "OLDER_ALTERED"
    CONFIG_DAMAGED = "CONFIG_DAMAGED"
    KEYS_DAMAGED = "KEYS_DAMAGED"
    LOG_DAMAGED = "LOG_DAMAGED"
    OPEN_MARK_DAMAGED = "OPEN_MARK_DAMAGED"
    OBJECT_UNREADABLE = "OBJECT_UNREADABLE"
    NOT_IN_COPY = "NOT_IN_COPY"
    COPY_NOT_BETTER = "COPY_NOT_BETTER"


_HEAL = (
    "The next backup of each VM concerned stores these chunks anew. Older points become whole again from a copy of the repository: "
    "seawall repo heal REPO --from URL; or put the object back from an older version of the bucket and check again with --read-data."
)
_BRING_BACK = (
    "Bring it back from a copy of the repository: seawall repo heal REPO --from URL; or put the object back from an older version of the "
    "bucket. Then check again."
)
_COPY = "Nothing is lost yet. seawall repo heal REPO --from URL writes the pack anew from a copy of the repository."
_KEYS = "Put the key object back from a copy or an older version of the bucket, then check again."
_REPORT = "Keep the bucket as it is and ask for help with this finding: a writer made what its point does not need."

NEXT_STEPS = {
    Reason.MANIFEST_MISSING: _BRING_BACK,
    Reason.MANIFEST_DAMAGED: _BRING_BACK,
    Reason.POINT_UNKNOWN: "Restart the controller: it takes over points that its database does not know. Until then nothing is collected.",
    Reason.POINT_VOID: (
        "Nothing is lost that anybody was told of, and nothing is kept for it. What of it can still be read, seawall rescue restores with "
        "--include-void. Then, when no controller but this one runs, move the object away with the store's own tools."
    ),
    Reason.TOMBSTONE_VOID: (
        "The point stands and is kept: delete it if it is to go. When no controller but this one runs, move the tombstone away with the "
        "store's own tools; a later deletion of the point makes place for its own too."
    ),
    Reason.REFMAP_MISSING: _BRING_BACK + " Until then nothing is collected.",
    Reason.REFMAP_DAMAGED: _BRING_BACK + " Until then nothing is collected.",
    Reason.REFMAP_DIFFERS: _REPORT,
    Reason.NODE_DAMAGED: _HEAL,
    Reason.PAGE_DAMAGED: _HEAL,
    Reason.MEMBER_DAMAGED: _HEAL,
    Reason.ENTRY_DIFFERS: (
        "If nothing else is found in this pack, the pack is whole and the manifests of these points are false: find out what their hosts "
        "run, and delete the points. " + _HEAL
    ),
    Reason.KEYS_MISSING: _KEYS,
    Reason.KEYS_DAMAGED: _KEYS,
    Reason.CONFIG_DAMAGED: (
        "Nothing is lost as long as one of v1/config, v1/config.1 and v1/config.2 is whole: they are the same bytes. Copy a whole one over "
        "this one with the store's own tools, then check again."
    ),
    Reason.LOG_DAMAGED: (
        "Put it back from a copy or an older version of the bucket. Until then start the controller on no copy of its database that is "
        "older than this log: it would refuse the repository, as it could not tell which chunks left since."
    ),
    Reason.OPEN_MARK_DAMAGED: (
        "Put it back from a copy or an older version of the bucket. Where there is none, restart the controller: it writes another one as "
        "it opens the repository, unless a deletion lies there that the damaged one might call void, and then it says which. One that is "
        "still found after that bears a later number than any controller gave: move it away. Until then nobody can tell what controllers "
        "that were replaced wrote in vain, and all of it counts."
    ),
    Reason.NEEDS_UPGRADE: "Upgrade the controller: a newer Seawall wrote this.",
    Reason.PACK_UNKNOWN: "Restart the controller so that it compares bucket and database, then check again.",
    Reason.PACK_MISSING: _HEAL,
    Reason.PACK_FOREIGN: _HEAL,
    Reason.PACK_DAMAGED: _COPY,
    Reason.CHUNKS_DAMAGED: _HEAL,
    Reason.CHUNKS_FALSE: (
        "Find out what the host that stored this pack runs: its agent is altered or broken. Revoke it if in doubt. "
        "The next backup of each VM concerned stores these chunks anew."
    ),
    Reason.COPY_MISSING: _COPY,
    Reason.COPY_DAMAGED: _COPY,
    Reason.OLDER_ALTERED: (
        "Nothing is lost: a later generation of this pack counts, and readers pass this one over. A collection removes it once it is older "
        "than the grace period: seawall repo collect REPO. What the store keeps (Object Lock, a policy) goes when it lets it go."
    ),
    Reason.OBJECT_UNREADABLE: "Look at what the store says of this object (its policy, its disks), then check again.",
    Reason.NOT_IN_COPY: "Try another copy of the repository, or an older version of the bucket.",
    Reason.COPY_NOT_BETTER: "Try another copy of the repository, or an older version of the bucket.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """`points`: ids of points that need what is damaged, at most POINTS_KEPT of `points_total`."""

    reason: Reason
    object_name: str
    sentence: str
    points: tuple[str, ...] = ()
    points_total: int = 0

    @property
    def next_step(self) -> str:
        return NEXT_STEPS[self.reason]


class Findings:
    """One finding for each object and reason; of more than FINDINGS_KEPT only the number. Not thread-safe."""

    def __init__(self) -> None:
        self._found: dict[tuple[Reason, str], Finding] = {}
        self._points: dict[tuple[Reason, str], set[str]] = {}
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._found) + self._dropped

    def add(self, reason: Reason, object_name: str, sentence: str, points: tuple[str, ...] = ()) -> None:
        """The first sentence of an object stays; points add up."""
        key = (reason, object_name)
        if key not in self._found:
            if len(self._found) >= FINDINGS_KEPT:
                self._dropped += 1
                return
            self._found[key] = Finding(reason, object_name, sentence)
            self._points[key] = set()
        self._add_points(key, points)

    def cost(self, object_name: str, point_id: str) -> None:
        """A point needs what is damaged in this object. Nothing where nothing was found there."""
        for key in self._found:
            if key[1] == object_name:
                self._add_points(key, (point_id,))

    def take(self, other: "Findings") -> None:
        """All of another's."""
        for finding in other.listed():
            self.add(finding.reason, finding.object_name, finding.sentence, finding.points)
        self._dropped += other._dropped

    def listed(self) -> tuple[Finding, ...]:
        """By object."""
        return tuple(sorted(self._found.values(), key=lambda finding: (finding.object_name, finding.reason)))

    def _add_points(self, key: tuple[Reason, str], points: tuple[str, ...]) -> None:
        finding, known = self._found[key], self._points[key]
        for point in points:
            if point in known:
                continue
            if len(known) < POINTS_KNOWN:  # beyond it one may count twice
                known.add(point)
            kept = (*finding.points, point)[:POINTS_KEPT]
            finding = replace(finding, points=kept, points_total=finding.points_total + 1)
        self._found[key] = finding


def newer(findings: Findings, point: PointName, error: FormatUnsupported) -> None:
    """A point, or something that it needs, was written by a newer Seawall: said of this point, and nothing else follows from it."""
    name = manifest_name(point.tenant, point.vm_id, point.point_id)
    findings.add(Reason.NEEDS_UPGRADE, name, str(error), (point.point_id,))
