"""Policies on the wire."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp

from seawall.api.v1 import policy_pb2
from seawall.controller.policies.applying import PolicyChange
from seawall.controller.policies.forecast import Firing, Forecast
from seawall.controller.policies.render import calendar_text, document_of, hook_texts, retention_text, selection_text
from seawall.controller.policies.standing import PolicyStanding
from seawall.controller.records.policies import PolicySpec
from seawall.controller.services.convert_time import timestamp
from seawall.repository.clock import microseconds_of
from seawall.repository.crypto.keys import DEFAULT_TENANT

MOST_VMS = 1000


def policy_message(view: PolicyStanding, spec: PolicySpec, revision: int) -> policy_pb2.Policy:
    """`spec`, `revision`: those that were asked for."""
    policy = view.policy
    return policy_pb2.Policy(
        policy_id=policy.id,
        name=policy.name,
        revision=revision,
        document=document_of(spec),
        repository=spec.repository,
        cron=calendar_text(spec),
        zone=spec.zone,
        selection=selection_text(spec.select),
        retention=retention_text(spec.retention),
        paused=spec.paused,
        next_at=at(view.next_nominal),
        applied_at=timestamp(policy.changed_us),
        vm_count=view.vm_count,
        point_count=view.point_count,
        rpo_seconds=spec.rpo_seconds,
        rpo_breached=view.rpo_breached,
        hooks=hook_texts(spec.hooks),
        hooks_failed=view.hooks_failed,
        verify_seconds=spec.verify_seconds,
        verify_late=view.verify_late,
        tenant=spec.tenant or DEFAULT_TENANT,
    )


def change_message(change: PolicyChange) -> policy_pb2.PolicyChange:
    return policy_pb2.PolicyChange(
        policy=change.after.name,
        kind=policy_pb2.PolicyChangeKind.Value(f"POLICY_CHANGE_KIND_{change.kind}"),
        revision=change.after.revision,
        difference=change.difference,
        warnings=change.warnings,
        vm_count=change.vm_count,
        points_to_delete=change.points_to_delete,
    )


def firing_message(firing: Firing, zone: ZoneInfo) -> policy_pb2.PolicyFiring:
    return policy_pb2.PolicyFiring(
        nominal_at=at(firing.nominal),
        local=local_text(firing.nominal, zone),
        first_start_at=at(firing.first_start),
        last_start_at=at(firing.last_start),
        begins_nothing=firing.nothing,
    )


def vm_messages(forecasts: Sequence[Forecast], host_names: dict[str, str]) -> list[policy_pb2.PolicyVm]:
    """The first thousand: `PreviewPolicyRequest.vms` is the way to the others."""
    return [
        policy_pb2.PolicyVm(
            vm_id=each.vm.id,
            name=each.vm.name,
            host_name=host_names.get(each.vm.host_id, ""),
            next_start_at=at(each.next_start),
            last_point_at=timestamp(each.last_point_us),
            read_bytes=each.read_bytes,
            stored_bytes=each.stored_bytes,
            seconds=each.seconds,
            measured=each.measured,
            waiting=each.waiting,
            tenant=each.tenant,
        )
        for each in forecasts[:MOST_VMS]
    ]


def local_text(when: datetime, zone: ZoneInfo) -> str:
    """ "Sun 2026-03-29 03:00 +02:00"."""
    local = when.astimezone(zone)
    offset = f"{local:%z}"
    return f"{local:%a %Y-%m-%d %H:%M} {offset[:3]}:{offset[3:5]}"


def at(when: datetime | None) -> Timestamp | None:
    return None if when is None else timestamp(microseconds_of(when))
