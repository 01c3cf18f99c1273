"""What a controller knows that its buckets' points do not say, as it travels in exports (`v1/c/export`). JSON by `database/columns`.

Fields are only ever added, with defaults: an older controller leaves out what it does not know, a newer one does without what is missing.
Bytes are hexadecimal or base64 text. No secret is in here.
"""

from dataclasses import dataclass, field

from seawall.controller.records.fleet import VmDisk
from seawall.controller.records.policies import Hold, PolicySpec
from seawall.controller.records.settings import VmSettings


@dataclass(frozen=True, slots=True)
class KnownHost:
    """A host and its agent's enrolment. `service`: the number of records.limits.Service. Hashes in hexadecimal, the certificate in PEM."""

    id: str
    name: str
    site: str = ""
    service: int = 0
    first_key_sha256: str = ""
    public_key_sha256: str = ""
    certificate_pem: str = ""
    certificate_expires_us: int = 0
    enrolled_us: int = 0
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class KnownVm:
    id: str
    name: str
    host_id: str
    disks: tuple[VmDisk, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownSettings:
    vm_id: str
    settings: VmSettings


@dataclass(frozen=True, slots=True)
class KnownPolicy:
    """At its newest revision. Where it stood in its calendar is not kept: a recovered one begins anew."""

    id: str
    revision: int
    spec: PolicySpec
    repository_id: str
    created_us: int
    changed_us: int
    deleted_us: int = 0


@dataclass(frozen=True, slots=True)
class KnownLimit:
    """Words of records.limits."""

    scope: str
    key: str
    measure: str
    value: int


@dataclass(frozen=True, slots=True)
class KnownApart:
    label: str
    vm_id: str


@dataclass(frozen=True, slots=True)
class KnownRepository:
    """For names in messages: each has an export of its own."""

    id: str
    name: str
    url: str


@dataclass(frozen=True, slots=True)
class KnownPoint:
    """What a point's manifest does not say. `policy_id` "": ordered by hand. `nominal_us`: when it was due, to the second; 0: unknown."""

    id: str
    host_id: str = ""
    policy_id: str = ""
    verified: bool = False
    nominal_us: int = 0


@dataclass(frozen=True, slots=True)
class KnownUser:
    """records.users.User, its role as a word. Also removed ones. Who knows the hash of a token cannot speak with it."""

    name: str
    role: str
    token_sha256: str
    created_us: int
    token_created_us: int
    changed_us: int
    removed_us: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    """What operators decided, and who joined: small, and exported soon after each change."""

    cluster_id: str = ""
    repositories: tuple[KnownRepository, ...] = ()
    hosts: tuple[KnownHost, ...] = ()
    policies: tuple[KnownPolicy, ...] = ()
    limits: tuple[KnownLimit, ...] = ()
    apart: tuple[KnownApart, ...] = ()
    settings: tuple[KnownSettings, ...] = ()
    holds: tuple[Hold, ...] = ()
    users: tuple[KnownUser, ...] = ()


@dataclass(frozen=True, slots=True)
class PackedPoints:
    """Columns of KnownPoint, in order of id: ids of 16 bytes, numbers of 2 bytes (little endian) into the lists, a byte each for verified,
    4 bytes (little endian) of seconds since 1970 for when the policy was due.

    Number n means the (n - 1)th of the list, 0 none. All base64.
    """

    ids: str = ""
    hosts: tuple[str, ...] = ()
    host: str = ""
    policies: tuple[str, ...] = ()
    policy: str = ""
    verified: str = ""
    due: str = ""
    """"": none is known, as before there was this column."""


@dataclass(frozen=True, slots=True)
class Export:
    """The whole document of one repository. `vms` and `points` grow by themselves, and are exported now and then."""

    repository_id: str
    repository_name: str
    settled: Settled
    vms: tuple[KnownVm, ...] = ()
    points: PackedPoints = field(default_factory=PackedPoints)


@dataclass(frozen=True, slots=True)
class Exported:
    """The newest export of a repository that this database knows of: it wrote it, or took it over. Not part of the document.

    `waits`: why retention waits for this repository, a sentence, since `waits_since_us`; "": it does not. `put_back`: the last that a newer
    export brought back, a sentence, at `put_back_us`.
    """

    repository_id: str
    epoch: int = 0
    number: int = 0
    exported_us: int = 0
    document_hash: bytes = b""
    waits: str = ""
    waits_since_us: int = 0
    put_back: str = ""
    put_back_us: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """Grows within one bucket."""
        return self.epoch, self.number

    @property
    def age(self) -> tuple[int, int]:
        """Grows with time over all buckets: numbers count in one bucket alone."""
        return self.epoch, self.exported_us
