"""Who gets a certificate, without gRPC."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import assume, given
from hypothesis import strategies as st

from seawall.api.join_token import parse_join_token
from seawall.api.recovery_proof import recovery_proof
from seawall.controller.certificates.authority import CertificateAuthority
from seawall.controller.certificates.generation import new_key
from seawall.controller.config import ControllerConfig
from seawall.controller.enrolment.enrol import Application, Enrolment
from seawall.controller.enrolment.nonces import Nonces
from seawall.controller.enrolment.port import AgentRecord
from seawall.controller.enrolment.recover import Recovery, RecoveryClaim
from seawall.controller.enrolment.tokens import CreatedToken, create_join_token
from seawall.controller.enrolment.tries import ALLOWED, MAX_CALLERS, WINDOW_SECONDS, WrongTries, caller_of
from seawall.controller.errors import ControllerError, InvalidArgument, ResourceExhausted, Unauthenticated
from seawall.controller.initialise import initialise
from seawall.controller.secrets import SecretBox
from seawall.controller.server.revocation import RevocationCheck
from support.controller_clock import ManualClock
from support.controller_shell import csr_of
from support.enrolment_memory import MemoryEnrolmentStore


@dataclass
class Registry:
    clock: ManualClock
    store: MemoryEnrolmentStore
    enrolment: Enrolment
    ca_sha256: bytes

    def token(self, ttl_seconds: float = 3600, max_uses: int = 1) -> CreatedToken:
        return create_join_token(
            self.store,
            self.clock,
            enrol_address="controller.example:7440",
            ca_sha256=self.ca_sha256,
            ttl_seconds=ttl_seconds,
            max_uses=max_uses,
        )


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    clock, store = ManualClock(), MemoryEnrolmentStore()
    config = ControllerConfig(state_dir=tmp_path)
    initialise(config, clock)
    authority = CertificateAuthority.load(config.paths, SecretBox.from_file(config.paths.kek), clock)
    return Registry(clock, store, Enrolment(store, authority, clock, 7 * 86_400), authority.root_sha256)


def application_of(created: CreatedToken) -> Application:
    parsed = parse_join_token(created.token.render())
    return Application(parsed.token_id, parsed.secret, csr_of(new_key()), "alpha")


def reason(call: Callable[[], object], kind: type[ControllerError]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return caught.value.reason


def test_the_secret_is_stored_as_a_hash_alone(registry: Registry) -> None:
    created = registry.token()
    stored = registry.store.join_token(created.token.token_id)
    assert stored is not None
    assert created.token.secret not in repr(stored)
    assert created.token.ca_sha256 == registry.ca_sha256
    assert stored.expires_us == created.expires_us == registry.clock.now_us() + 3_600_000_000


@pytest.mark.parametrize("ttl_seconds", [0, 59.9, 86_401, -1, float("nan")])
def test_tokens_live_from_a_minute_to_a_day(registry: Registry, ttl_seconds: float) -> None:
    assert reason(lambda: registry.token(ttl_seconds=ttl_seconds), InvalidArgument) == "BAD_TTL"


@pytest.mark.parametrize("max_uses", [0, -1, 10_001])
def test_tokens_have_a_number_of_uses(registry: Registry, max_uses: int) -> None:
    assert reason(lambda: registry.token(max_uses=max_uses), InvalidArgument) == "BAD_MAX_USES"


def test_asking_again_gives_the_same_certificate(registry: Registry) -> None:
    application = application_of(registry.token())
    first = registry.enrolment.enrol(application)
    registry.clock.advance(60)
    assert registry.enrolment.enrol(application) == first
    assert first.host_name == "alpha"


def test_each_host_of_a_shared_token_is_another_agent(registry: Registry) -> None:
    created = registry.token(max_uses=2)
    first, second = (registry.enrolment.enrol(application_of(created)) for _ in range(2))
    assert first.agent_id != second.agent_id
    late = application_of(created)
    assert reason(lambda: registry.enrolment.enrol(late), Unauthenticated) == "TOKEN_USED"


def test_an_unknown_token_and_a_wrong_secret_look_alike(registry: Registry) -> None:
    good = application_of(registry.token())
    wrong = replace(good, token_secret=good.token_secret[::-1])
    unknown = replace(good, token_id="unknown")
    told = set()
    for application in (wrong, unknown, replace(good, token_secret="")):
        with pytest.raises(Unauthenticated) as caught:
            registry.enrolment.enrol(application)
        told.add((caught.value.reason, str(caught.value)))
    assert {each for each, _ in told} == {"TOKEN_UNKNOWN"}
    assert len(told) == 1


def test_an_expired_token_ends_for_all_also_for_who_enrolled_with_it(registry: Registry) -> None:
    application = application_of(registry.token(ttl_seconds=60))
    registry.clock.advance(59)
    registry.enrolment.enrol(application)
    registry.clock.advance(1)
    assert reason(lambda: registry.enrolment.enrol(application), Unauthenticated) == "TOKEN_EXPIRED"


def test_a_bad_request_uses_nothing_up(registry: Registry) -> None:
    application = application_of(registry.token())
    bad = replace(application, csr_der=b"rubbish")
    assert reason(lambda: registry.enrolment.enrol(bad), InvalidArgument) == "BAD_CSR"
    assert registry.enrolment.enrol(application).host_name == "alpha"


def test_host_names_are_made_fit_for_terminals(registry: Registry) -> None:
    application = replace(application_of(registry.token()), host_name="\x1b[31mred\x00" + "x" * 500)
    name = registry.enrolment.enrol(application).host_name
    assert name.startswith("[31mred")
    assert len(name) == 253


def test_renewal_keeps_the_agent_and_moves_the_end(registry: Registry) -> None:
    agent = registry.enrolment.enrol(application_of(registry.token()))
    registry.clock.advance(4 * 86_400)
    renewed = registry.enrolment.renew(agent.agent_id, csr_of(new_key()))
    leaf = x509.load_pem_x509_certificate(renewed.chain_pem)
    uri = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert uri.get_values_for_type(x509.UniformResourceIdentifier)[0].endswith(f"/agent/{agent.agent_id}")
    assert renewed.expires_us == agent.certificate_expires_us + 4 * 86_400_000_000
    kept = registry.store.agent(agent.agent_id)
    assert kept is not None
    assert (kept.certificate_pem, kept.certificate_expires_us) == (renewed.chain_pem, renewed.expires_us)


def test_revoked_and_unknown_agents_get_nothing(registry: Registry) -> None:
    application = application_of(registry.token())
    agent = registry.enrolment.enrol(application)
    registry.store.revoke_agent(agent.agent_id)
    csr = csr_of(new_key())
    for call in (
        lambda: registry.enrolment.renew(agent.agent_id, csr),
        lambda: registry.enrolment.renew(str(uuid.uuid4()), csr),
        lambda: registry.enrolment.check_agent(agent.agent_id),
        lambda: registry.enrolment.enrol(application),
    ):
        assert reason(call, Unauthenticated) == "AGENT_REVOKED"


def test_wrong_tries_are_counted_by_caller_and_forgotten_in_time() -> None:
    clock = ManualClock()
    tries = WrongTries(clock)
    for _ in range(ALLOWED):
        tries.check("a")
        tries.wrong("a")
    assert reason(lambda: tries.check("a"), ResourceExhausted) == "TOO_MANY_TRIES"
    tries.check("b")
    clock.advance(WINDOW_SECONDS)
    tries.check("a")


def test_the_memory_of_wrong_tries_is_bounded() -> None:
    tries = WrongTries(ManualClock())
    for number in range(MAX_CALLERS + 5):
        tries.wrong(str(number))
    assert len(tries._tries) == MAX_CALLERS


@pytest.mark.parametrize(
    ("peer", "caller"),
    [
        ("ipv4:10.0.0.7:51234", "10.0.0.7"),
        ("ipv6:%5B::1%5D:9", "::1"),
        ("ipv6:[fd00::1]:9", "fd00::1"),
        ("unix:", "unix:"),
    ],
)
def test_callers_are_named_without_their_port(peer: str, caller: str) -> None:
    assert caller_of(peer) == caller


async def test_a_yes_is_remembered_for_seconds_and_a_no_never() -> None:
    clock, asked, revoked = ManualClock(), [], set()

    def check(agent_id: str) -> None:
        asked.append(agent_id)
        if agent_id in revoked:
            raise Unauthenticated("AGENT_REVOKED", "revoked")

    remembered = RevocationCheck(check, clock, remember_seconds=5)
    await remembered("a")
    clock.advance(4.9)
    revoked.add("a")
    await remembered("a")
    assert asked == ["a"]
    clock.advance(0.1)
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await remembered("a")
    revoked.clear()
    await remembered("a")
    assert asked == ["a"] * 4


async def test_a_thousand_agents_cost_one_look_and_who_is_not_in_it_is_asked_for_by_name() -> None:
    clock, looks, asked, enrolled = ManualClock(), [], [], {"a", "b"}

    def check(agent_id: str) -> None:
        asked.append(agent_id)
        if agent_id not in enrolled:
            raise Unauthenticated("AGENT_REVOKED", "revoked")

    def everybody() -> frozenset[str]:
        looks.append(clock.now_us())
        return frozenset(enrolled)

    remembered = RevocationCheck(check, clock, remember_seconds=5, everybody=everybody)
    await asyncio.gather(*(remembered(each) for each in ("a", "b", "a", "b")))
    assert (len(looks), asked) == (1, [])
    enrolled.add("late")
    await remembered("late")
    assert (len(looks), asked) == (1, ["late"])
    enrolled.remove("a")
    clock.advance(4.9)
    await remembered("a")
    clock.advance(0.1)
    with pytest.raises(Unauthenticated):
        await remembered("a")
    await remembered("b")
    assert (len(looks), asked) == (2, ["late", "a"])


def test_a_nonce_is_good_for_a_minute_for_its_agent_and_its_controller(registry: Registry) -> None:
    nonces, agent = Nonces(registry.clock), str(uuid.uuid4())
    nonce = nonces.make(agent)
    assert nonce != nonces.make(agent)
    nonces.check(agent, nonce)
    for other, shown in ((str(uuid.uuid4()), nonce), (agent, nonce[:-1]), (agent, b""), (agent, bytes(56))):
        assert reason(partial(nonces.check, other, shown), Unauthenticated) == "NONCE_OVER"
    assert reason(lambda: Nonces(registry.clock).check(agent, nonce), Unauthenticated) == "NONCE_OVER"
    registry.clock.advance(59.9)
    nonces.check(agent, nonce)
    registry.clock.advance(0.2)
    assert reason(lambda: nonces.check(agent, nonce), Unauthenticated) == "NONCE_OVER"


def test_who_stands_for_hosts_that_nobody_knows_does_not_recover(registry: Registry) -> None:
    """A recovered catalogue has such a host: no certificate was ever given out to it."""
    nonces, agent = Nonces(registry.clock), str(uuid.uuid4())
    token_id = registry.token().token.token_id
    registry.store.enrol(AgentRecord(agent, token_id, bytes(32), "unknown", b"", 0, 0))
    claim = RecoveryClaim(agent, nonces.make(agent), b"", b"")
    recovery = Recovery(registry.store, registry.enrolment, nonces)
    assert reason(lambda: recovery.recover(claim), Unauthenticated) == "RECOVERY_REFUSED"


@given(
    st.lists(st.binary(max_size=80), min_size=3, max_size=3), st.lists(st.binary(max_size=80), min_size=3, max_size=3)
)
def test_two_recoveries_are_never_signed_alike(one: list[bytes], two: list[bytes]) -> None:
    assume(one != two)
    assert recovery_proof(one[0].hex(), one[1], one[2]) != recovery_proof(two[0].hex(), two[1], two[2])
