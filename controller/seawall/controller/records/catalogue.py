"""Repositories, points and packs as the controller's catalogue holds them. It can be rebuilt from the bucket."""

from dataclasses import dataclass, replace
from enum import StrEnum

from seawall.controller.records.runs import ReadMethod, RunWarning
from seawall.repository.format.slot_set import NO_SLOTS, SlotSet


class PointState(StrEnum):
    PUBLISHING = "PUBLISHING"
    AVAILABLE = "AVAILABLE"
    DELETING = "DELETING"
    """Decided for good: no list shows it, nothing new may use it. Still a root of collection until its objects are gone."""
    DELETED = "DELETED"
    FAILED = "FAILED"
    """Its place in the bucket holds something else. Never a restore point: no list shows it."""


class PackState(StrEnum):
    OPEN = "OPEN"
    """Reserved by an attempt; nobody has seen it in the store."""
    STORED = "STORED"
    """Its table was read back from the store."""
    VOID = "VOID"
    """Given up for ever: an object of that name may be deleted."""
    DELETED = "DELETED"
    """Was STORED; its objects are gone. The id is never used again."""


@dataclass(frozen=True, slots=True)
class PointDisk:
    disk: str
    size_bytes: int
    format: str
    read_bytes: int
    new_bytes: int
    stored_bytes: int
    how: ReadMethod
    why: str
    milliseconds: int


@dataclass(frozen=True, slots=True)
class PointMember:
    """A small file of the point: "domain.xml", "nvram.fd", "tpm2-00.permall"."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Intent:
    """The exact bytes that a publication writes; whoever finishes it writes these and no others."""

    manifest: bytes
    refmap: bytes


@dataclass(frozen=True, slots=True)
class Point:
    """One VM at one instant. `manifest_hash` is the BLAKE3 of its m/ object. `intent` lives while the point is PUBLISHING.

    `seq` numbers the publications of its repository in their order: the clock may jump, and ids with it. `tombstone`: the exact bytes of
    its t/ object, from DELETING on. `damaged`: JSON of what verification found lost, "" while nothing is.
    `verified_us`: when all that it needs was found read back and proven; 0: not yet; negative: then it was not so.
    `checked_us`: when that was last looked at; `read_us`: all that it needs was read since then. `tried_us`: when a
    check for its policy last ended that may have left something of it undecided.
    """

    id: str
    vm_id: str
    vm_name: str
    tenant: str
    repository_id: str
    attempt_id: str
    host_id: str
    parent_point_id: str
    state: PointState
    db_epoch: int
    instant_us: int
    guest_frozen: bool
    disks: tuple[PointDisk, ...]
    warnings: tuple[RunWarning, ...]
    manifest_hash: bytes
    created_us: int
    published_us: int = 0
    seq: int = 0
    intent: Intent | None = None
    tombstone: bytes = b""
    deleted_us: int = 0
    damaged: str = ""
    verified_us: int = 0
    read_us: int = 0
    checked_us: int = 0
    tried_us: int = 0
    policy_id: str = ""
    """The policy that began its run and decides how long it is kept; "": nobody but an operator deletes it."""
    members: tuple[PointMember, ...] = ()

    @property
    def verified(self) -> bool:
        """Shown as protected (repository/DESIGN.md, rule 12)."""
        return self.state is PointState.AVAILABLE and self.verified_us > 0 and not self.damaged

    @property
    def virtual_bytes(self) -> int:
        return sum(disk.size_bytes for disk in self.disks)


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack object, all generations of it together.

    `generation`: the one to read; a meta pack has its second copy in the next. `reserved_generation`: the highest that was ever given out.
    `generation_hash`: BLAKE3-16 of the bytes of the later generation `hashed_generation`, made from bytes that were known; `b""`: unknown.
    `slots`: of generation 0, whatever left since. `condemned`: slots that left the index for ever, last at `condemned_us`. `bad`: slots
    that verification found damaged. `verified_us`: when the whole pack was read back and every h recomputed; 0: never;
    negative: it was read then and is not whole.
    """

    id: bytes
    repository_id: str
    tenant: str
    host_id: str
    attempt_id: str
    state: PackState
    meta: bool
    size_bytes: int
    slots: int = 0
    generation: int = 0
    reserved_generation: int = 0
    hashed_generation: int = 0
    generation_hash: bytes = b""
    condemned: SlotSet = NO_SLOTS
    condemned_us: int = 0
    bad: SlotSet = NO_SLOTS
    verified_us: int = 0

    @property
    def verified(self) -> bool:
        return self.verified_us > 0

    @property
    def unusable(self) -> SlotSet:
        """Slots that answer no Lookup and may stand in no new point."""
        return self.condemned | self.bad

    def keeps(self, named: SlotSet) -> bool:
        """Whether none of these slots is condemned."""
        return len(named - self.condemned) == len(named)

    @property
    def generations(self) -> tuple[int, ...]:
        """Those that lie in the store."""
        return (self.generation, self.generation + 1) if self.meta else (self.generation,)

    def reserve(self, above: int) -> tuple[int, "Pack"]:
        """The first of the next generations, greater than `above` and all that were ever given out, and the pack that gave it out."""
        first = max(above, self.reserved_generation, *self.generations) + 1
        first += first % 2 if self.meta else 0  # the two copies of a meta pack are an even number and the next
        return first, replace(self, reserved_generation=first + len(self.generations) - 1)

    @property
    def present_hash(self) -> bytes:
        """`generation_hash` where it is that of the generation that counts; `b""`: unknown, or the first, whose hash is the id."""
        return self.generation_hash if self.generation and self.hashed_generation == self.generation else b""

    def at_generation(self, generation: int, size_bytes: int, generation_hash: bytes) -> "Pack":
        """Compacted: this generation counts from now on, and nothing condemned waits to be dropped."""
        highest = max(self.reserved_generation, generation + len(self.generations) - 1)
        after = replace(self, generation=generation, size_bytes=size_bytes, condemned_us=0, reserved_generation=highest)
        return replace(after, hashed_generation=generation, generation_hash=generation_hash)


@dataclass(frozen=True, slots=True)
class Wrapper:
    """One recipient of the repository's secret key."""

    name: str
    epoch: int
    public_key_hex: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    conditional_put: bool
    conditional_put_atomic: bool
    checks_content_md5: bool
    presigned_requires_condition: bool
    warnings: tuple[str, ...]
    takes_bare_put: bool = False
    """A presigned PUT without a Content-MD5 is taken. False too where nobody asked yet."""


@dataclass(frozen=True, slots=True)
class RepositoryRecord:
    """A bucket or folder. `secret_id` names its sealed credentials, empty where it needs none."""

    id: str
    name: str
    url: str
    lineage_hex: str
    signing_public_key_hex: str
    chunk_nominal_bytes: int
    wrappers: tuple[Wrapper, ...]
    capabilities: Capabilities
    secret_id: str
    created_us: int


@dataclass(frozen=True, slots=True)
class RepositoryTotals:
    points: int
    packs: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class PointMark:
    """What retention asks of a point: a policy may have hundreds of thousands, and each whole one is a kilobyte.

    `nominal_us`: when its policy was due; 0: nobody knows.
    """

    id: str
    vm_id: str
    vm_name: str
    repository_id: str
    state: PointState
    seq: int
    instant_us: int
    damaged: bool
    nominal_us: int


@dataclass(frozen=True, slots=True)
class PointTotals:
    """Of AVAILABLE points. `oldest_newest_us`: the instant of the newest point of the VM whose newest point is oldest; 0: no VM has any."""

    points: int
    virtual_bytes: int
    vms: int
    oldest_newest_us: int
    verified: int = 0
    """Of the points: everything that they need was read back and proven."""
