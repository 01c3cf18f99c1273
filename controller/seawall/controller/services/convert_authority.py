"""The certificate authority, for the wire."""

from cryptography import x509

from seawall.api.v1 import operator_pb2
from seawall.controller.certificates.generation import Generation
from seawall.controller.certificates.rotating import Standing
from seawall.controller.certificates.rotation import Behind
from seawall.controller.certificates.state import AuthorityState, Phase
from seawall.controller.services.convert_time import timestamp
from seawall.repository.clock import microseconds_of

MOST_BEHIND = 200

_PHASES = {
    Phase.SETTLED: operator_pb2.AUTHORITY_PHASE_SETTLED,
    Phase.TRUSTING: operator_pb2.AUTHORITY_PHASE_TRUSTING,
    Phase.SIGNING: operator_pb2.AUTHORITY_PHASE_SIGNING,
}


def authority_message(standing: Standing) -> operator_pb2.Authority:
    state, under_way = standing.state, standing.state.phase is not Phase.SETTLED
    return operator_pb2.Authority(
        phase=_PHASES[state.phase],
        roots=_roots(state),
        begun_at=timestamp(state.begun_us) if under_way else None,
        phase_at=timestamp(state.phase_us) if state.phase_us else None,
        hosts_total=len(standing.members),
        behind=[_behind(each) for each in standing.behind[:MOST_BEHIND]],
        behind_total=len(standing.behind),
        left_out=standing.left_out,
        join_tokens=standing.join_tokens,
    )


def _roots(state: AuthorityState) -> list[operator_pb2.AuthorityRoot]:
    roots = [_root(state.present, operator_pb2.ROOT_ROLE_SIGNS)]
    if state.other is not None:
        coming = state.phase is Phase.TRUSTING
        roots.append(_root(state.other, operator_pb2.ROOT_ROLE_COMING if coming else operator_pb2.ROOT_ROLE_LEAVING))
    return roots


def _root(generation: Generation, role: "operator_pb2.RootRole.ValueType") -> operator_pb2.AuthorityRoot:
    end = x509.load_pem_x509_certificate(generation.root_pem.encode()).not_valid_after_utc
    return operator_pb2.AuthorityRoot(
        sha256=bytes.fromhex(generation.root_id), role=role, expires_at=timestamp(microseconds_of(end))
    )


def _behind(each: Behind) -> operator_pb2.HostBehind:
    seen = each.member.last_seen_us
    return operator_pb2.HostBehind(
        host_id=each.member.host_id,
        name=each.member.name,
        last_seen_at=timestamp(seen) if seen else None,
        why=each.why,
    )
