"""The certificate authority: what it signs, and what it refuses."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from seawall.controller.certificates import server_certificate
from seawall.controller.certificates.authority import CertificateAuthority
from seawall.controller.certificates.csr import public_key_of_request, public_key_sha256
from seawall.controller.certificates.generation import new_key
from seawall.controller.certificates.names import SERVER_LIFE, SERVER_RENEW_BEFORE
from seawall.controller.certificates.server_certificate import ServerCertificate, TlsFiles, names_of
from seawall.controller.config import ControllerConfig
from seawall.controller.errors import FailedPrecondition, InvalidArgument
from seawall.controller.initialise import initialise
from seawall.controller.secrets import Secret, SecretBox
from seawall.repository.clock import datetime_of
from support.controller_clock import ManualClock

AGENT = "0f7ad1c0-4c1e-4b7e-9a8e-0c5c3c9a3f11"
NAMES = ("10.0.0.1", "controller.example")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def config(tmp_path: Path, clock: ManualClock) -> ControllerConfig:
    made = ControllerConfig(state_dir=tmp_path)
    initialise(made, clock)
    return made


@pytest.fixture
def authority(config: ControllerConfig, clock: ManualClock) -> CertificateAuthority:
    return CertificateAuthority.load(config.paths, SecretBox.from_file(config.paths.kek), clock)


def a_csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    """A request that asks for more than it will get."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root of all evil")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("controller.example")]), critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(Encoding.DER)


def chain_of(pem: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pem)


def test_an_agent_gets_its_identity_and_nothing_that_it_asked_for(
    authority: CertificateAuthority, clock: ManualClock
) -> None:
    key = new_key()
    issued = authority.issue_agent(AGENT, public_key_of_request(a_csr(key)), 7 * 86_400)
    leaf, _ = chain_of(issued.chain_pem)
    assert leaf.public_key() == key.public_key()
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uri = f"seawall://{authority.cluster_id}/agent/{AGENT}"
    assert list(names) == [x509.UniformResourceIdentifier(uri)]
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert leaf.not_valid_after_utc == datetime_of(clock.now_us()) + timedelta(days=7) == datetime_of(issued.expires_us)


@pytest.mark.parametrize(
    ("life_seconds", "slow_clock"), [(7 * 86_400, timedelta(hours=14)), (60, timedelta(minutes=4))]
)
def test_certificates_hold_for_machines_whose_clocks_are_behind(
    authority: CertificateAuthority, clock: ManualClock, life_seconds: int, slow_clock: timedelta
) -> None:
    now = datetime_of(clock.now_us())
    issued = authority.issue_agent(AGENT, new_key().public_key(), life_seconds).chain_pem
    for each in (*chain_of(issued), *chain_of(authority.bundle_pem)):
        assert each.not_valid_before_utc < now - slow_clock
    leaf, _ = chain_of(issued)
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    assert life_seconds < 3600 or begin + (end - begin) / 2 > now + timedelta(seconds=life_seconds) / 3, "renewed then"


def test_servers_verify_against_the_root_and_agents_are_no_servers(
    authority: CertificateAuthority, clock: ManualClock
) -> None:
    root = chain_of(authority.bundle_pem)
    server = chain_of(authority.issue_server(NAMES, new_key().public_key()).chain_pem)
    assert server[2:] == root
    builder = PolicyBuilder().store(Store(root)).time(datetime_of(clock.now_us()))
    verifier = builder.build_server_verifier(x509.DNSName("controller.example"))
    assert verifier.verify(server[0], server[1:2])
    agent = chain_of(authority.issue_agent(AGENT, new_key().public_key(), 60).chain_pem)
    with pytest.raises(VerificationError):
        verifier.verify(agent[0], agent[1:])


def test_the_issuing_authority_is_bounded(authority: CertificateAuthority) -> None:
    root, issuing = chain_of(authority.client_roots_pem)
    constraints = issuing.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert constraints.value.permitted_subtrees == [x509.UniformResourceIdentifier(authority.cluster_id)]
    depth = [
        each.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length for each in (root, issuing)
    ]
    assert depth == [1, 0]


def test_nothing_outlives_its_issuer(authority: CertificateAuthority) -> None:
    issuing = chain_of(authority.client_roots_pem)[1]
    leaf = chain_of(authority.issue_agent(AGENT, new_key().public_key(), 100 * 365 * 86_400).chain_pem)[0]
    assert leaf.not_valid_after_utc == issuing.not_valid_after_utc


def test_only_signed_p256_requests_count() -> None:
    good = a_csr(new_key())
    assert len(public_key_sha256(public_key_of_request(good))) == 32
    forged = good[:-1] + bytes([good[-1] ^ 1])
    foreign = [a_csr(ec.generate_private_key(ec.SECP384R1())), a_csr(ed25519.Ed25519PrivateKey.generate())]
    rsa_request = a_csr(rsa.generate_private_key(65537, 2048))
    for bad in (b"", b"rubbish", good[:-5], forged, *foreign, rsa_request, good + bytes(20_000)):
        with pytest.raises(InvalidArgument) as caught:
            public_key_of_request(bad)
        assert caught.value.reason == "BAD_CSR"


def server_of(config: ControllerConfig, clock: ManualClock, names: tuple[str, ...] = NAMES) -> ServerCertificate:
    box = SecretBox.from_file(config.paths.kek)
    authority = CertificateAuthority.load(config.paths, box, clock)
    return ServerCertificate(config.paths.server_certificate, authority, box, names, clock)


def leaf_of(files: TlsFiles) -> x509.Certificate:
    return chain_of(files.chain_pem)[0]


def test_the_server_certificate_stays_while_it_serves(config: ControllerConfig, clock: ManualClock) -> None:
    first = server_of(config, clock).current()
    assert names_of(leaf_of(first)) == NAMES
    clock.advance((SERVER_LIFE - SERVER_RENEW_BEFORE).total_seconds() - 60)
    again = server_of(config, clock, ("CONTROLLER.example", "10.0.0.1", "10.0.0.1")).current()
    assert again.chain_pem == first.chain_pem
    assert again.key_pem.reveal() == first.key_pem.reveal()


def test_the_server_certificate_is_renewed_near_its_end_and_kept(config: ControllerConfig, clock: ManualClock) -> None:
    running = server_of(config, clock)
    first = running.current()
    clock.advance((SERVER_LIFE - SERVER_RENEW_BEFORE).total_seconds() + 60)
    second = running.current()
    assert leaf_of(second).serial_number != leaf_of(first).serial_number
    assert running.current() is second
    assert server_of(config, clock).current().chain_pem == second.chain_pem


def test_other_names_need_another_certificate(config: ControllerConfig, clock: ManualClock) -> None:
    server_of(config, clock)
    assert names_of(leaf_of(server_of(config, clock, ("new.example",)).current())) == ("new.example",)


def test_a_damaged_server_certificate_is_made_anew(config: ControllerConfig, clock: ManualClock) -> None:
    config.paths.server_certificate.write_bytes(b"rubbish")
    assert names_of(leaf_of(server_of(config, clock).current())) == NAMES


def test_a_certificate_that_cannot_be_renewed_goes_on(
    config: ControllerConfig, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = server_of(config, clock)
    first = running.current()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(server_certificate, "write_file", full)
    clock.advance(SERVER_LIFE.total_seconds() - 60)
    assert running.current() is first


def test_an_authority_that_is_not_there(tmp_path: Path, clock: ManualClock) -> None:
    with pytest.raises(FailedPrecondition, match="controller init"):
        CertificateAuthority.load(ControllerConfig(state_dir=tmp_path).paths, SecretBox(Secret(bytes(32))), clock)
