"""Limits and hosts as operators order them: set, unset, groups, cordon, drain. What runs is never touched."""

import json
from collections.abc import Callable, Iterable

import structlog

from seawall.api.v1 import limits_pb2
from seawall.controller.admission.facts import FleetFacts
from seawall.controller.admission.mirror import FleetMirror, Sight
from seawall.controller.admission.shares import FLOOR_BYTES_PER_SECOND
from seawall.controller.admission.usage import ORDER, one, place, table
from seawall.controller.admission.waterfill import UNBOUNDED
from seawall.controller.admission.words import split_scope, storage_key
from seawall.controller.errors import InvalidArgument, NotFound
from seawall.controller.policies.tenancy import tenants_named
from seawall.controller.records.answers import Asked
from seawall.controller.records.limits import Breaker, Limit, Measure, Scope, ScopeKey, Service, Traffic
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.wakes import SCHEDULER, Wakes
from seawall.controller.services.apart import Group, check_group, group_of, set_group
from seawall.controller.services.convert_fleet import host_message
from seawall.controller.services.convert_limits import SERVICES, service_value, usage_message
from seawall.controller.services.explaining import holder
from seawall.controller.services.masks import masked_host, masked_limits
from seawall.controller.services.naming import find_host, find_repository, find_vms
from seawall.controller.services.once import Once, asked_by
from seawall.controller.services.outdated import OutdatedHosts
from seawall.controller.services.paging import not_ours, page_by, page_size_or_all, start_of
from seawall.controller.services.views import host_views
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.text import NAME_LENGTH, printable
from seawall.repository.format.names import check_tenant

MOST = 1_000_000_000
WITH_BANDWIDTH = (Scope.GLOBAL, Scope.SITE, Scope.HOST)

_log = structlog.get_logger()

_Act = Callable[[Transaction], str]


class LimitOrders:
    """Belongs to one event loop. See limits.proto for the errors."""

    def __init__(
        self, store: Store, once: Once, wakes: Wakes, mirror: FleetMirror, clock: SteadyClock, outdated: OutdatedHosts
    ) -> None:
        self._store = store
        self._once = once
        self._wakes = wakes
        self._mirror = mirror
        self._clock = clock
        self._outdated = outdated

    async def listed(self, request: limits_pb2.ListLimitsRequest) -> limits_pb2.ListLimitsResponse:
        size, after = page_size_or_all(request.page_size), _begun_after(request.page_token)
        sight, traffic = await self._look()
        tenants = await self._store.read(tenants_named) if request.all else frozenset()
        usages = table(sight.facts, traffic, every=request.all, tenants=tenants)
        page, token = page_by(
            [each for each in usages if after is None or place(each.where) > place(after)],
            size,
            lambda usage: f"{usage.where.scope}:{usage.where.key}",
            lambda page: [usage_message(sight.facts, each) for each in page],
        )
        return limits_pb2.ListLimitsResponse(limits=page, next_page_token=token)

    async def set(self, request: limits_pb2.SetLimitRequest) -> limits_pb2.ScopeLimits:
        scope, key = split_scope(request.scope)
        said, taken_back = masked_limits(request)
        values = _values(scope, said, may_be_none=bool(taken_back))
        sight, _ = await self._look()

        def act(transaction: Transaction) -> str:
            where = _resolved(transaction, sight.facts, scope, key)
            for measure, value in values.items():
                transaction.limits.set_limit(Limit(where.scope, where.key, measure, value))
            for name in taken_back:
                transaction.limits.unset_limit(where.scope, where.key, Measure[name.upper()])
            return json.dumps(where)

        return await self._changed(asked_by(request), act)

    async def unset(self, request: limits_pb2.UnsetLimitRequest) -> limits_pb2.ScopeLimits:
        scope, key = split_scope(request.scope)
        named = [measure for measure in Measure if getattr(request, measure.value.lower())]
        sight, _ = await self._look()

        def act(transaction: Transaction) -> str:
            where = _resolved(transaction, sight.facts, scope, key, known=False)
            for measure in named or list(Measure):
                transaction.limits.unset_limit(where.scope, where.key, measure)
            return json.dumps(where)

        return await self._changed(asked_by(request), act)

    async def set_apart(self, request: limits_pb2.SetApartRequest) -> Group:
        """The group as it is then, or would be. Raises what `check_group` does."""
        check_group(request)
        label = request.label
        if request.plan_only:
            return await self._store.read(lambda transaction: _planned(transaction, request))

        def act(transaction: Transaction) -> str:
            set_group(transaction, label, find_vms(transaction, request.vms), together=request.together)
            return label

        await self._once_written(asked_by(request), act)
        return await self._store.read(lambda transaction: group_of(transaction, label))

    async def host(self, text: str) -> limits_pb2.HostAdmission:
        now_us, listening_us = self._clock.now_us(), self._clock.started_us

        def closure(transaction: Transaction) -> limits_pb2.HostAdmission:
            host = find_host(transaction, text)
            sight = self._mirror.look(transaction, now_us)
            (view,) = host_views(transaction, [host], now_us, listening_us=listening_us)
            live = [each for each in sight.facts.live if each.host_id == host.id]
            progress = transaction.runs.progress_of([each.attempt_id for each in live])
            usage = one(sight.facts, transaction.limits.traffic(), ScopeKey(Scope.HOST, host.id))
            return limits_pb2.HostAdmission(
                host=host_message(view),
                site=host.site,
                service=service_value(host.service),
                limits=usage_message(sight.facts, usage),
                runs=[holder(sight.facts, each, progress.get(each.attempt_id)) for each in live],
                waiting=_waiting_for(sight, host.id),
            )

        found = await self._store.read(closure)
        self._outdated.mark([found.host])
        return found

    async def set_host(self, request: limits_pb2.SetHostRequest) -> limits_pb2.HostAdmission:
        asked, request = asked_by(request), masked_host(request)
        site = request.site.strip() if request.HasField("site") else None
        if site is not None and (printable(site) != site or ":" in site):
            raise InvalidArgument("BAD_SITE", f"A site's name is printable, {NAME_LENGTH} characters, without a colon.")
        service = SERVICES.get(request.service)

        def act(transaction: Transaction) -> str:
            host = find_host(transaction, request.host)
            if site is not None:
                transaction.fleet.set_site(host.id, site)
            if service is not None:
                transaction.fleet.set_service(host.id, service)
            if service is Service.IN_SERVICE:
                # Whoever puts it back has looked at it.
                transaction.limits.save_breaker(Breaker(Scope.HOST, host.id, 0, 0, "", ""))
            return host.id

        host_id = await self._once_written(asked, act)
        _log.info("host.set", host=host_id, service=service.name if service is not None else "", site=site)
        return await self.host(host_id)

    async def _changed(self, asked: Asked, act: _Act) -> limits_pb2.ScopeLimits:
        scope, key = json.loads(await self._once_written(asked, act))
        where = ScopeKey(Scope(scope), key)
        sight, traffic = await self._look()
        _log.info("limit.changed", scope=scope, key=key)
        return usage_message(sight.facts, one(sight.facts, traffic, where))

    async def _once_written(self, asked: Asked, act: _Act) -> str:
        answer = await self._store.write(
            lambda transaction: self._once.within(transaction, asked, lambda: act(transaction))
        )
        self._wakes.notify((SCHEDULER,))
        return answer

    async def _look(self) -> tuple[Sight, Iterable[Traffic]]:
        now_us = self._clock.now_us()
        return await self._store.read(
            lambda transaction: (self._mirror.look(transaction, now_us), transaction.limits.traffic())
        )


def _planned(transaction: Transaction, request: limits_pb2.SetApartRequest) -> Group:
    vms = find_vms(transaction, request.vms)
    return group_of(transaction, request.label, *(((), vms) if request.together else (vms, ())))


def _begun_after(token: str) -> ScopeKey | None:
    """What the page before ended with; None: it is the first one. Raises InvalidArgument/BAD_PAGE_TOKEN."""
    if not token:
        return None
    word, _, key = start_of(token).partition(":")
    if word not in ORDER:
        raise not_ours()
    return ScopeKey(Scope(word), key)


def _values(scope: Scope, request: limits_pb2.SetLimitRequest, *, may_be_none: bool) -> dict[Measure, int]:
    """Raises InvalidArgument/NO_LIMIT, BAD_LIMIT, BANDWIDTH_SCOPE, WEIGHT_SCOPE."""
    found = {
        measure: int(getattr(request, measure.value.lower()))
        for measure in Measure
        if request.HasField(measure.value.lower())  # type: ignore[arg-type]
    }
    if not found and not may_be_none:
        raise InvalidArgument("NO_LIMIT", "Say which limit: preparing, transferring, bandwidth, or a tenant's weight.")
    if Measure.BANDWIDTH in found and scope not in WITH_BANDWIDTH:
        raise InvalidArgument("BANDWIDTH_SCOPE", "Bandwidth is limited globally, for sites and for hosts.")
    if Measure.WEIGHT in found and scope is not Scope.TENANT:
        raise InvalidArgument("WEIGHT_SCOPE", "Only tenants have a weight.")
    for measure, value in found.items():
        _check_value(measure, value)
    return found


def _check_value(measure: Measure, value: int) -> None:
    word = measure.value.lower()
    if measure is Measure.BANDWIDTH:
        if not FLOOR_BYTES_PER_SECOND <= value <= UNBOUNDED:
            raise InvalidArgument(
                "BAD_LIMIT",
                f"A bandwidth is at least {FLOOR_BYTES_PER_SECOND} bytes per second; below that nothing gets anywhere.",
            )
    elif value == 0 and measure is Measure.WEIGHT:
        raise InvalidArgument("BAD_LIMIT", "weight: the least is 1; with 0 a tenant would have no share of the slots.")
    elif value == 0:
        raise InvalidArgument(
            "BAD_LIMIT", f"{word}: 0 would stop everything for ever. To stop a host, cordon it: seawall host cordon."
        )
    elif value > MOST:
        raise InvalidArgument("BAD_LIMIT", f"{word}: {value} is more than {MOST}; unset the limit instead.")


def _resolved(transaction: Transaction, facts: FleetFacts, scope: Scope, key: str, *, known: bool = True) -> ScopeKey:
    """Names become ids. Raises NotFound/HOST_UNKNOWN, REPOSITORY_UNKNOWN; with `known` STORAGE_UNKNOWN too, and InvalidArgument/BAD_SCOPE
    where no tenant can have that name.
    """
    if not key:
        return ScopeKey(scope, key)
    if scope is Scope.HOST:
        return ScopeKey(scope, find_host(transaction, key).id)
    if scope is Scope.REPOSITORY:
        return ScopeKey(scope, find_repository(transaction, key).id)
    if scope is Scope.STORAGE:
        storage = storage_key(facts, key)
        if known and storage not in facts.storages:
            raise NotFound(
                "STORAGE_UNKNOWN", f"No VM has a disk on storage {key[:200]!r}. `seawall limit list --all` shows them."
            )
        return ScopeKey(scope, storage)
    if scope is Scope.TENANT and known:
        _check_tenant(key)
    return ScopeKey(scope, key)


def _check_tenant(name: str) -> None:
    """A limit that no run could ever meet would be a limit that somebody believes in."""
    try:
        check_tenant(name)
    except ValueError as error:
        raise InvalidArgument("BAD_SCOPE", f"{printable(str(error))}.") from error


def _waiting_for(sight: Sight, host_id: str) -> int:
    """READY runs that only this host can carry out."""
    facts = sight.facts
    return sum(
        (run.restore.host_id if run.restore else getattr(facts.vms.get(run.vm_id), "host_id", "")) == host_id
        for run in sight.ready
    )
