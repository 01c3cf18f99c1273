"""What a newer export knows, into an older database: last night's copy was put back, or a standby leads without the last transactions.

Holds and revocations are united, hosts, users and policies that are newer come back, each step leaves the rest alone; all may be repeated.
Limits, groups, settings of VMs and the service of hosts become as the export has them, whole, where it is the newest word of all: what
was taken back since must not return. But for what an operator said since this controller began to lead. In transactions of the caller.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from seawall.controller.records.catalogue import PointState
from seawall.controller.records.known import Export, KnownHost, KnownPolicy, Settled
from seawall.controller.records.limits import Limit, Measure, Scope, Service
from seawall.controller.records.policies import Hold, Policy
from seawall.controller.records.settings import NO_SETTINGS, VmSettings
from seawall.controller.recovering.exporting import settled
from seawall.controller.recovering.putting_back import PutBack, put_back_hosts, put_back_policies
from seawall.controller.recovering.users import put_back_users
from seawall.controller.store.transaction import Transaction

Subject = tuple[str, ...]
"""What one decision is about: its kind, and who or what."""

LIMIT, GROUP, SETTINGS, HOST = "limit", "group", "settings", "host"
NAMED = 5
"""In a sentence; of the others it tells how many."""
_LISTED = (PointState.PUBLISHING, PointState.AVAILABLE)
_WORDS = {LIMIT: "limits", GROUP: "groups", SETTINGS: "settings of VMs", HOST: "hosts (site, service)"}


@dataclass(slots=True)
class Returned:
    """What came back, by name; `left_out`: what could not, and why."""

    joined: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    policies: list[str] = field(default_factory=list)
    holds: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    decided: list[Subject] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, other: "Returned") -> None:
        for each in fields(self):
            getattr(self, each.name).extend(getattr(other, each.name))

    def phrases(self) -> Iterator[str]:
        if self.points:
            yield f"restore points: {len(self.points)}"
        lists = {"joined": self.joined, "revoked": self.revoked, "users": self.users}
        lists |= {"policies": self.policies, "held points": self.holds}
        for what, names in lists.items():
            if names:
                more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
                yield f"{what}: {', '.join(names[:NAMED])}{more}"
        for kind, what in _WORDS.items():
            count = sum(subject[0] == kind for subject in self.decided)
            if count:
                yield f"{what}: {count}"


def decisions_of(settled: Settled) -> dict[Subject, object]:
    """What each thing is decided to be. Pure."""
    found: dict[Subject, object] = {(LIMIT, each.scope, each.key, each.measure): each.value for each in settled.limits}
    found |= {(GROUP, each.label, each.vm_id): True for each in settled.apart}
    found |= {(SETTINGS, each.vm_id): each.settings for each in settled.settings}
    return found | {(HOST, each.id): (each.site, each.service) for each in settled.hosts}


def differing(one: Mapping[Subject, object], other: Mapping[Subject, object]) -> set[Subject]:
    """Pure."""
    return {subject for subject in one.keys() | other.keys() if one.get(subject) != other.get(subject)}


def bring_back_hosts(transaction: Transaction, export: Export, cluster_id: str) -> Returned:
    """Before the points: they name them. And users, who may have been removed since: they are to be refused as soon as that is known.

    An export of another cluster tells nothing about who may speak in this one.
    """
    returned = Returned()
    here = {host.id: host for host in transaction.known.hosts()}
    put_back_hosts(transaction, export, cluster_id, PutBack())
    if export.settled.cluster_id != cluster_id:
        return returned
    returned.joined += [host.name for host in export.settled.hosts if host.id not in here]
    for host in export.settled.hosts:
        known = here.get(host.id)
        if known is not None and _enrolled(known, host) != known:
            transaction.known.save_host(_enrolled(known, host))
            if host.revoked and not known.revoked:
                returned.revoked.append(host.name)
    back = put_back_users(transaction, export.settled.users)
    returned.users += back.changed
    return returned


def bring_back_decisions(
    transaction: Transaction, export: Export, now_us: int, spoken: Collection[Subject] | None
) -> tuple[Returned, list[Hold]]:
    """Once the points are there: holds name them, and retention judges them by the policies. `spoken`: of what operators spoke since this
    controller began to lead; None: the export is not the newest word, and what has no revision stays as it is.

    Also returns the holds of points that are not there.
    """
    returned = Returned()
    if spoken is not None:
        _bring_back_whole(transaction, export.settled, now_us, spoken, returned)
    _bring_back_policies(transaction, export.settled, now_us, returned)
    late = bring_back_holds(transaction, export.settled.holds, returned)
    known = {record.id for record in transaction.repositories.repositories()}
    returned.left_out += [
        f"repository {each.name} ({each.url}): its keys are in no export; `seawall controller recover` brings it back"
        for each in export.settled.repositories
        if each.id not in known
    ]
    return returned, late


def bring_back_holds(transaction: Transaction, holds: Sequence[Hold], returned: Returned) -> list[Hold]:
    """What either holds is held. Returns those of points that are not there; points that are deleted need none."""
    held, late = transaction.policies.holds_of([hold.point_id for hold in holds]), []
    for hold in holds:
        point = transaction.points.point(hold.point_id)
        if point is None:
            late.append(hold)
        elif point.state in _LISTED and hold.point_id not in held:
            transaction.policies.hold(hold)
            returned.holds.append(hold.point_id)
    return late


def _enrolled(here: KnownHost, there: KnownHost) -> KnownHost:
    """What either revoked is revoked, for ever; the certificate that ends later is the newer one."""
    revoked = here.revoked or there.revoked
    if there.certificate_expires_us <= here.certificate_expires_us:
        return replace(here, revoked=revoked)
    return replace(there, name=here.name, site=here.site, service=here.service, revoked=revoked)


def _bring_back_whole(
    transaction: Transaction, wanted: Settled, now_us: int, spoken: Collection[Subject], returned: Returned
) -> None:
    there, here = decisions_of(wanted), decisions_of(settled(transaction, ""))
    for subject in sorted(differing(here, there) - set(spoken)):
        try:
            done = _decide(transaction, subject, there.get(subject), now_us)
        except ValueError as error:  # a newer controller's word
            returned.left_out.append(f"{' '.join(subject)}: {error}")
            continue
        if done:
            returned.decided.append(subject)


def _decide(transaction: Transaction, subject: Subject, value: object, now_us: int) -> bool:
    """Whether it could be done. `value` None: nothing is said of it. Raises ValueError."""
    kind, *names = subject
    if kind == LIMIT:
        scope, key, measure = Scope(names[0]), names[1], Measure(names[2])
        if isinstance(value, int):
            transaction.limits.set_limit(Limit(scope, key, measure, value))
            return True
        return transaction.limits.unset_limit(scope, key, measure)
    if kind == HOST:
        return isinstance(value, tuple) and _serve(transaction, names[0], *value)
    vm_id = names[-1]
    if transaction.fleet.vm(vm_id) is None:
        return False
    if kind == SETTINGS:
        transaction.settings.save(vm_id, value if isinstance(value, VmSettings) else NO_SETTINGS, now_us)
    elif value:
        transaction.limits.keep_apart(names[0], [vm_id])
    else:
        transaction.limits.keep_together(names[0], [vm_id])
    return True


def _serve(transaction: Transaction, host_id: str, site: str, service: int) -> bool:
    if transaction.fleet.host(host_id) is None:
        return False
    transaction.fleet.set_site(host_id, site)
    transaction.fleet.set_service(host_id, Service(service))
    return True


def _bring_back_policies(transaction: Transaction, wanted: Settled, now_us: int, returned: Returned) -> None:
    missing = []
    for known in wanted.policies:
        here = transaction.policies.policy(known.id)
        if here is None:
            missing.append(known)
        elif (known.revision, known.changed_us) > (here.revision, here.changed_us):
            if transaction.repositories.repository(known.repository_id) is None:
                returned.left_out.append(f"policy {known.spec.name}: its repository is not here")
                continue
            _renew(transaction, here, known, now_us)
            returned.policies.append(known.spec.name)
    done = PutBack()
    put_back_policies(transaction, replace(wanted, policies=tuple(missing)), now_us, done)
    returned.policies += done.policies
    returned.left_out += done.left_out
    returned.left_out += [
        f"policy {name}: its repository ({url}) is not here" for name, url in done.policies_waiting.items()
    ]


def _renew(transaction: Transaction, here: Policy, known: KnownPolicy, now_us: int) -> None:
    """Another calendar begins now, as one that an operator applies. One that changed on both sides gets a revision of its own."""
    same_calendar = here.spec.calendar == known.spec.calendar and here.active and not known.deleted_us
    after = replace(
        here,
        revision=max(known.revision, here.revision + 1),
        spec=known.spec,
        repository_id=known.repository_id,
        changed_us=known.changed_us,
        fired_us=here.fired_us if same_calendar else now_us,
        deleted_us=known.deleted_us,
    )
    transaction.policies.save_policy(here, after)
    if not same_calendar or not after.active:
        transaction.policies.drop_due(here.id)
