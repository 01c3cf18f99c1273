"""The rotation of the certificate authority as a machine: state and what hosts have in, the next state out. Pure.

SETTLED -> TRUSTING -> SIGNING -> SETTLED. Nothing advances while a host is behind that is neither revoked nor left out. Each step
follows from what is stored alone, so whoever leads may carry it on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from seawall.controller.certificates.generation import Generation
from seawall.controller.certificates.state import MOST_FORMERS, AuthorityState, Former, Phase
from seawall.controller.errors import FailedPrecondition


@dataclass(frozen=True, slots=True)
class Member:
    """A host that is not revoked, and what it last said and showed."""

    host_id: str
    name: str
    last_seen_us: int = 0
    """0: never."""
    online: bool = False
    said: bool = False
    """It ever said what it trusts: its agent knows how."""
    trusts: frozenset[str] = frozenset()
    """Root ids."""
    shows: str = ""
    """The root id above its certificate."""


@dataclass(frozen=True, slots=True)
class Behind:
    """A host that is waited for, and why, as a sentence with what to do."""

    member: Member
    why: str


def begin(state: AuthorityState, coming: Generation, link_pem: str, now_us: int) -> AuthorityState:
    """Raises FailedPrecondition/ROTATION_UNDER_WAY."""
    if state.phase is not Phase.SETTLED:
        raise FailedPrecondition("ROTATION_UNDER_WAY", "The certificate authority is being replaced already.")
    return replace(
        state,
        version=state.version + 1,
        phase=Phase.TRUSTING,
        other=coming,
        link_pem=link_pem,
        without=(),
        begun_us=now_us,
        phase_us=now_us,
    )


def leave_out(state: AuthorityState, host_ids: Sequence[str]) -> AuthorityState:
    """The same while none of them is new."""
    more = tuple(dict.fromkeys((*state.without, *host_ids)))
    return state if more == state.without else replace(state, version=state.version + 1, without=more)


def cancel(state: AuthorityState, now_us: int) -> AuthorityState:
    """Raises FailedPrecondition/NO_ROTATION, ROTATION_TOO_FAR."""
    if state.phase is Phase.SETTLED:
        raise FailedPrecondition("NO_ROTATION", "The certificate authority is not being replaced.")
    if state.phase is Phase.SIGNING:
        raise FailedPrecondition(
            "ROTATION_TOO_FAR",
            "The new certificate authority has signed certificates already. Let this rotation end; leave out hosts that do not come back.",
        )
    return _settled(replace(state, phase_us=now_us))


def behind(state: AuthorityState, members: Sequence[Member]) -> list[Behind]:
    """Who keeps this phase from its end, longest silent first."""
    waited = sorted((each for each in members if each.host_id not in state.without), key=_silent)
    return [Behind(each, why) for each in waited if (why := _why(state, each))]


def step(state: AuthorityState, members: Sequence[Member], now_us: int, settle_us: int) -> AuthorityState | None:
    """The next phase; None: not yet. `settle_us`: so long each phase lasts at least, for all controllers to see it."""
    if state.phase is Phase.SETTLED or state.other is None:
        return None
    if now_us - state.phase_us < settle_us or behind(state, members):
        return None
    if state.phase is Phase.TRUSTING:
        formers = (*state.formers, Former(state.present.root_pem, state.link_pem))[-MOST_FORMERS:]
        return replace(
            state,
            version=state.version + 1,
            phase=Phase.SIGNING,
            present=state.other,
            other=state.present.without_keys(),  # nothing needs them any more
            link_pem="",
            formers=formers,
            phase_us=now_us,
        )
    return _settled(replace(state, phase_us=now_us))


def told_roots(state: AuthorityState, shows: str) -> tuple[Generation, ...]:
    """What a host is to trust that shows a certificate under this root. Once it has one of the new authority it needs the old root no more:
    so nobody who was waited for trusts the old one when it is retired.
    """
    if state.phase is Phase.SIGNING and shows == state.present.root_id:
        return (state.present,)
    return state.generations


def _settled(state: AuthorityState) -> AuthorityState:
    """The other one, and what is left of its keys, is gone with this."""
    return replace(state, version=state.version + 1, phase=Phase.SETTLED, other=None, link_pem="", without=())


def _why(state: AuthorityState, member: Member) -> str:
    """Empty: it is as far as this phase asks. While settled: what would be in the way of a rotation."""
    if state.phase is Phase.SETTLED:
        return "" if member.online else _absent(member)
    if state.other is None or _is_there(state, member):
        return ""
    if not member.online:
        return _absent(member)
    if not member.said:
        return (
            "It does not say what it trusts: its agent is older than this controller. Upgrade it; or leave the host out (--without), "
            "and join it again afterwards."
        )
    return "It is being told; this takes a heartbeat or two."


def _is_there(state: AuthorityState, member: Member) -> bool:
    if state.phase is Phase.TRUSTING and state.other is not None:
        return state.other.root_id in member.trusts
    return member.shows == state.present.root_id and member.trusts == {state.present.root_id}


def _absent(member: Member) -> str:
    never = (
        "It has joined and never called since: start its agent"
        if not member.last_seen_us
        else "It is offline: start its agent"
    )
    return (
        f"{never}. One that does not come back: leave it out (--without; it recovers by itself should it ever come), "
        "or refuse it for ever (seawall host revoke)."
    )


def _silent(member: Member) -> tuple[int, str]:
    return member.last_seen_us, member.host_id
