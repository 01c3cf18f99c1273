"""Carrying a rotation out: what operators order, and the leader's loop that takes the next step once nobody is behind."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from seawall.controller.certificates import rotation
from seawall.controller.certificates.authority import CertificateAuthority
from seawall.controller.certificates.generation import link, new_generation
from seawall.controller.certificates.rotation import Behind, Member
from seawall.controller.certificates.state import AuthorityState, Phase
from seawall.controller.errors import ControllerError, FailedPrecondition, Unavailable
from seawall.controller.records.answers import Asked
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.secrets import SecretBox
from seawall.controller.server.drain import Drain
from seawall.controller.services.naming import find_host
from seawall.controller.services.once import Once
from seawall.controller.store.authority import Said
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings, microseconds
from seawall.repository.clock import Clock

SETTLE_LOOKS = 5
"""So many looks of a controller at the database each phase lasts at least: all of them have seen it before the next."""
NOBODY = Said(frozenset(), "")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Standing:
    """How the authority stands, for people."""

    state: AuthorityState
    members: Sequence[Member]
    """Who is waited for, or would be."""
    behind: Sequence[Behind]
    left_out: Sequence[str]
    """Names."""
    join_tokens: int


class Rotating:
    """`clock`: steady. Belongs to one event loop."""

    def __init__(
        self,
        store: Store,
        authority: CertificateAuthority,
        box: SecretBox,
        lease: LeaderLease,
        once: Once,
        clock: Clock,
        timings: Timings,
    ) -> None:
        self._store = store
        self._authority = authority
        self._box = box
        self._lease = lease
        self._once = once
        self._clock = clock
        self._timings = timings

    async def standing(self, without: Sequence[str] = ()) -> Standing:
        """`without`: hosts that would be left out as well. Raises NotFound/HOST_UNKNOWN, InvalidArgument/AMBIGUOUS."""
        now_us = self._clock.now_us()
        return await self._store.read(
            lambda transaction: standing_of(transaction, self._authority.state, without, now_us)
        )

    async def rotate(self, asked: Asked, without: Sequence[str]) -> None:
        """Begin, or leave out more hosts of what is under way.

        Raises NotFound/HOST_UNKNOWN, InvalidArgument/AMBIGUOUS, FailedPrecondition/ROOT_KEY_MISSING, CONTROLLERS_DIFFER.
        """
        own, now_us = self._authority.state, self._clock.now_us()
        coming = await asyncio.to_thread(
            new_generation, own.present.number + 1, self._authority.cluster_id, self._box, now_us
        )
        link_pem = await asyncio.to_thread(link, own.present, coming, self._box)

        def changed(transaction: Transaction, before: AuthorityState) -> AuthorityState:
            left_out = [find_host(transaction, text).id for text in without]
            state = before
            if before.phase is Phase.SETTLED:
                self._require_alike(transaction)
                if before.present.root_id != own.present.root_id:  # its key may be here and not there
                    raise Unavailable("AUTHORITY_CHANGING", "The certificate authority was just replaced; try again.")
                state = rotation.begin(before, coming, link_pem, now_us)
            return rotation.leave_out(state, left_out)

        await self._change(asked, changed)

    async def cancel(self, asked: Asked) -> None:
        """Raises FailedPrecondition/NO_ROTATION, ROTATION_TOO_FAR."""
        now_us = self._clock.now_us()
        await self._change(asked, lambda _, before: rotation.cancel(before, now_us))

    async def run(self, drain: Drain, interval_seconds: float) -> None:
        """The leader's loop, until the drain."""
        while not drain.started:
            try:
                await self.advance()
            except ControllerError as error:
                _log.warning("authority.not_advanced", reason=error.reason, error=str(error))
            except Exception:
                # The top of the loop: the next look begins with what is stored.
                _log.exception("authority.not_advanced")
            await drain.first(asyncio.sleep(interval_seconds), interval_seconds)

    async def advance(self) -> bool:
        """One look. Whether a step was taken."""
        if self._authority.state.phase is Phase.SETTLED:
            return False
        now_us, leader = self._clock.now_us(), self._lease.current
        settle_us = microseconds(SETTLE_LOOKS * self._timings.watch_interval_seconds)

        def stepped(transaction: Transaction) -> AuthorityState | None:
            transaction.leadership.check(leader)
            before = _stored(transaction)
            after = rotation.step(before, members_of(transaction, now_us), now_us, settle_us)
            if after is not None:
                transaction.authority.save(after, before.version)
            return after

        after = await self._store.write(stepped)
        if after is None:
            return False
        _log.info("authority.advanced", phase=after.phase, version=after.version, root=after.present.root_id)
        await asyncio.to_thread(self._authority.adopt, after)
        return True

    async def _change(self, asked: Asked, changed: Callable[[Transaction, AuthorityState], AuthorityState]) -> None:
        leader = self._lease.current

        def write(transaction: Transaction) -> AuthorityState:
            transaction.leadership.check(leader)

            def act() -> str:
                before = _stored(transaction)
                after = changed(transaction, before)
                if after is not before:
                    transaction.authority.save(after, before.version)
                return str(after.version)

            self._once.within(transaction, asked, act)
            return _stored(transaction)

        after = await self._store.write(write)
        if after.version > self._authority.state.version:
            _log.warning("authority.ordered", method=asked.method, phase=after.phase, without=after.without)
            await asyncio.to_thread(self._authority.adopt, after)

    def _require_alike(self, transaction: Transaction) -> None:
        """An older controller of this database would not follow: its hosts would be lost to it."""
        since_us = self._clock.now_us() - microseconds(self._timings.leader_lease_seconds * 2)
        versions = {each.version for each in transaction.leadership.replicas(since_us)}
        if len(versions) > 1:
            raise FailedPrecondition(
                "CONTROLLERS_DIFFER",
                f"The controllers of this database are of versions {', '.join(sorted(versions))}; upgrade all of them first.",
            )


def standing_of(transaction: Transaction, state: AuthorityState, without: Sequence[str], now_us: int) -> Standing:
    state = rotation.leave_out(state, [find_host(transaction, text).id for text in without])
    members = members_of(transaction, now_us)
    names = transaction.fleet.host_names()
    return Standing(
        state,
        [each for each in members if each.host_id not in state.without],
        rotation.behind(state, members),
        [names.get(each, each) for each in state.without],
        transaction.authority.open_tokens(now_us) if state.phase is not Phase.SIGNING else 0,
    )


def members_of(transaction: Transaction, now_us: int) -> list[Member]:
    """All hosts that are not revoked, and what they said."""
    said = transaction.authority.said()
    sessions = {each.agent_id: each for each in transaction.fleet.sessions()}
    names, members = transaction.fleet.host_names(), []
    for host_id in sorted(transaction.fleet.enrolled()):
        session, words = sessions.get(host_id), said.get(host_id, NOBODY)
        members.append(
            Member(
                host_id,
                names.get(host_id, host_id),
                session.last_seen_us if session else 0,
                session is not None and session.lease_until_us > now_us,
                host_id in said,
                words.trusts,
                words.shows,
            )
        )
    return members


def _stored(transaction: Transaction) -> AuthorityState:
    state = transaction.authority.state()
    if state is None:
        raise Unavailable("AUTHORITY_CHANGING", "The database was just put back; try again.")
    return state
