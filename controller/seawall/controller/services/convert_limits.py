"""Limits, use, breakers and what runs wait for: records to messages."""

from seawall.api.v1 import limits_pb2, resources_pb2
from seawall.controller.admission.breaker import BreakerState, probe_us, state_of
from seawall.controller.admission.caps import Cap
from seawall.controller.admission.facts import FleetFacts, Occupied
from seawall.controller.admission.gates import BlockedOn
from seawall.controller.admission.usage import Usage
from seawall.controller.admission.words import scope_word
from seawall.controller.records.limits import Breaker, Scope, ScopeKey, Service
from seawall.controller.records.runs import Progress
from seawall.controller.services.convert_time import timestamp

SERVICES = {
    limits_pb2.HOST_SERVICE_IN_SERVICE: Service.IN_SERVICE,
    limits_pb2.HOST_SERVICE_CORDONED: Service.CORDONED,
    limits_pb2.HOST_SERVICE_DRAINING: Service.DRAINING,
}
WORDS = {BreakerState.CLOSED: "closed", BreakerState.OPEN: "open", BreakerState.HALF_OPEN: "half-open"}


def usage_message(facts: FleetFacts, usage: Usage) -> limits_pb2.ScopeLimits:
    return limits_pb2.ScopeLimits(
        scope=scope_word(facts, usage.where),
        preparing=_cap(usage.preparing, 0),
        transferring=_cap(usage.transferring, usage.kept),
        bandwidth=_cap(usage.bandwidth, 0),
        weight=usage.weight,
        preparing_now=usage.preparing_now,
        transferring_now=usage.transferring_now,
        bytes_per_second_now=usage.rate_now,
        breaker=breaker_message(usage.breaker, facts.now_us),
        unknown=usage.unknown,
    )


def _cap(cap: Cap | None, kept: int) -> limits_pb2.LimitUse | None:
    return None if cap is None else limits_pb2.LimitUse(cap=cap.value, kept_for_restores=kept, source=cap.source)


def breaker_message(breaker: Breaker | None, now_us: int) -> limits_pb2.Breaker | None:
    if breaker is None:
        return None
    state = state_of(breaker, now_us)
    return limits_pb2.Breaker(
        state=WORDS[state],
        failures=breaker.failures,
        reason=breaker.reason,
        message=breaker.message,
        last_at=timestamp(breaker.last_us),
        next_try_at=timestamp(0 if state is BreakerState.CLOSED else probe_us(breaker)),
    )


def service_value(service: Service) -> "limits_pb2.HostService.ValueType":
    return {each: value for value, each in SERVICES.items()}[service]


def blocked_message(facts: FleetFacts, blocked: BlockedOn) -> limits_pb2.BlockedOn:
    named = blocked.scope is not Scope.VM
    return limits_pb2.BlockedOn(
        scope=scope_word(facts, ScopeKey(blocked.scope, blocked.key)) if named else f"vm:{blocked.key}",
        measure=blocked.measure.value.lower(),
        used=blocked.used,
        cap=blocked.cap,
        sentence=blocked.sentence,
    )


def holder_message(facts: FleetFacts, each: Occupied, progress: Progress | None) -> limits_pb2.Holder:
    host = facts.hosts.get(each.host_id)
    kind = resources_pb2.RUN_KIND_RESTORE if each.restore else resources_pb2.RUN_KIND_BACKUP
    disks = progress.disks if progress is not None else ()
    return limits_pb2.Holder(
        run_id=each.run_id,
        kind=kind,
        vm_name=each.vm_name,
        host_name=host.name if host is not None else "",
        preparing=each.preparing,
        since=timestamp(each.created_us),
        planned_bytes=sum(disk.planned_bytes for disk in disks),
        read_bytes=sum(disk.read_bytes for disk in disks),
        eta_seconds=progress.eta_seconds if progress is not None else 0,
    )
