"""Hosts that are not who they say: another's session, attempt, VM or packs under one's own certificate; no certificate of ours at all."""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from google.protobuf.message import Message

from seawall.api.v1 import agent_pb2, agent_pb2_grpc, operator_pb2, resources_pb2
from seawall.controller.certificates.authority import CertificateAuthority
from seawall.controller.certificates.generation import key_pem, new_key
from seawall.controller.database.enrolment import DatabaseEnrolment
from seawall.controller.secrets import SecretBox
from seawall.repository.clock import SystemClock
from seawall.repository.format.layout import parse_pack_name
from seawall.repository.store.folder import FolderStore
from seawall.repository.writing.facts import WrittenPoint
from support.controller_agent import VM_ID, VM_NAME, ScriptedAgent, enrolled
from support.controller_application import Controller, configured, reason_of, running
from support.controller_shell import csr_of
from support.memory_disks import ModelDisk

SIZE = 1024 * 1024


@dataclass(frozen=True)
class Scene:
    """Alpha is in the middle of its second backup; beta is enrolled too, and is the liar."""

    controller: Controller
    alpha: ScriptedAgent
    beta: ScriptedAgent
    attempt: agent_pb2.AttemptRef
    written: WrittenPoint
    request: agent_pb2.CompleteAttemptRequest
    packs: list[bytes]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    root = tmp_path_factory.mktemp("agents")
    disk = ModelDisk(SIZE)
    disk.write(0, bytes(range(256)) * 1024)
    with running(configured(root / "state")) as controller:
        controller.add_folder(root / "bucket")
        alpha, beta = enrolled(controller, "alpha"), enrolled(controller, "beta")
        alpha.inventory({"vda": SIZE})
        controller.start_backup(VM_NAME)
        alpha.backup({"vda": disk.source()})
        controller.start_backup(VM_NAME)
        attempt = alpha.next_assignment().attempt
        grant = alpha.accept(attempt).backup
        written = alpha.write(attempt, grant, {"vda": disk.source()})
        names = [parse_pack_name(info.name) for info in FolderStore(root / "bucket").list("v1/p/")]
        packs = sorted({name.pack_id for name in names if name is not None})
        yield Scene(controller, alpha, beta, attempt, written, alpha.hand_in(attempt, written), packs)


Calls = dict[str, Message]


def calls(scene: Scene, session_id: str) -> Calls:
    """Each call that names a session or an attempt, as alpha would make it, with this session."""
    named: dict[str, Any] = {"session_id": session_id, "attempt": scene.attempt}
    complete = agent_pb2.CompleteAttemptRequest()
    complete.CopyFrom(scene.request)
    complete.session_id = session_id
    vm = resources_pb2.Vm(vm_id=VM_ID, name=VM_NAME, state="running")
    return {
        "Poll": agent_pb2.PollRequest(session_id=session_id),
        "Heartbeat": agent_pb2.HeartbeatRequest(session_id=session_id),
        "ReportInventory": agent_pb2.ReportInventoryRequest(session_id=session_id, revision=9, last=True, vms=[vm]),
        "AcceptAttempt": agent_pb2.AcceptAttemptRequest(**named),
        "Lookup": agent_pb2.LookupRequest(**named, chunk_ids=bytes(16)),
        "SealPack": agent_pb2.SealPackRequest(**named, pack_id=bytes(16), length_bytes=9, content_md5=bytes(16)),
        "PackStored": agent_pb2.PackStoredRequest(**named, pack_id=scene.packs[0]),
        "SealHandIn": agent_pb2.SealHandInRequest(
            **named, what=agent_pb2.HAND_IN_ROOT, length_bytes=9, content_md5=bytes(16), content_hash=bytes(32)
        ),
        "GetReadUrls": agent_pb2.GetReadUrlsRequest(**named, packs=[agent_pb2.PackRef(pack_id=scene.packs[0])]),
        "FailAttempt": agent_pb2.FailAttemptRequest(**named, failure=resources_pb2.Failure(reason="SABOTAGE")),
        "CompleteAttempt": complete,
    }


OF_SESSION = ("Poll", "Heartbeat", "ReportInventory")
OF_ATTEMPT = (
    "AcceptAttempt",
    "Lookup",
    "SealPack",
    "PackStored",
    "SealHandIn",
    "GetReadUrls",
    "FailAttempt",
    "CompleteAttempt",
)


def test_the_table_names_every_call_of_an_agent() -> None:
    service = agent_pb2.DESCRIPTOR.services_by_name["AgentService"]
    named = {*OF_SESSION, *OF_ATTEMPT, "Hello", "RenewCertificate"}
    assert {method.name for method in service.methods} == named


def refusal(agent: ScriptedAgent, method: str, request: Message) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        getattr(agent.stub, method)(request, timeout=10)
    return reason_of(caught.value)


def everything(scene: Scene) -> tuple[object, ...]:
    backups = scene.controller.backups
    run = backups.ListRuns(operator_pb2.ListRunsRequest()).runs[0]
    vm = backups.GetVm(operator_pb2.GetVmRequest(vm=VM_ID)).vm
    points = backups.ListPoints(operator_pb2.ListPointsRequest()).points
    return run.state, run.attempts[0].state, run.attempts[0].host_name, vm.host_name, len(points)


@pytest.mark.parametrize("method", [*OF_SESSION, *OF_ATTEMPT])
def test_anothers_session_is_unknown(scene: Scene, method: str) -> None:
    before = everything(scene)
    assert refusal(scene.beta, method, calls(scene, scene.alpha.session_id)[method]) == "SESSION_UNKNOWN"
    assert everything(scene) == before


@pytest.mark.parametrize("method", OF_ATTEMPT)
def test_anothers_attempt_is_not_yours(scene: Scene, method: str) -> None:
    before = everything(scene)
    assert refusal(scene.beta, method, calls(scene, scene.beta.session_id)[method]) == "NOT_YOUR_ATTEMPT"
    assert everything(scene) == before


@pytest.mark.parametrize("method", [*OF_SESSION, *OF_ATTEMPT])
@pytest.mark.parametrize("session_id", ["", "nonsense", "\0", "x" * 100_000, str(uuid.UUID(int=7))])
def test_no_session(scene: Scene, method: str, session_id: str) -> None:
    assert refusal(scene.alpha, method, calls(scene, session_id)[method]) == "SESSION_UNKNOWN"


@pytest.mark.parametrize("method", OF_ATTEMPT)
@pytest.mark.parametrize("attempt_id", ["", "\0", "x" * 100_000, str(uuid.UUID(int=7))])
def test_no_attempt(scene: Scene, method: str, attempt_id: str) -> None:
    request = calls(scene, scene.alpha.session_id)[method]
    request.attempt.attempt_id = attempt_id  # type: ignore[attr-defined]
    assert refusal(scene.alpha, method, request) == "ATTEMPT_UNKNOWN"


@pytest.mark.parametrize("method", OF_ATTEMPT)
@pytest.mark.parametrize("field", ["attempt_no", "db_epoch"])
def test_another_number_of_an_attempt_is_fenced(scene: Scene, method: str, field: str) -> None:
    for number in (0, 99, 2**31 - 1):
        request = calls(scene, scene.alpha.session_id)[method]
        setattr(request.attempt, field, number)  # type: ignore[attr-defined]
        assert refusal(scene.alpha, method, request) == "FENCED"


def test_anothers_attempt_in_hello_and_heartbeat_is_to_be_abandoned(scene: Scene) -> None:
    before = everything(scene)
    attempt_id = scene.attempt.attempt_id
    assert scene.beta.hello(running=[scene.attempt]) == [attempt_id]
    moved = resources_pb2.AttemptProgress(attempt_id=attempt_id, seq=99, phase="lies")
    assert list(scene.beta.beat(moved).unknown_attempt_ids) == [attempt_id]
    assert everything(scene) == before
    run = scene.controller.backups.ListRuns(operator_pb2.ListRunsRequest()).runs[0]
    assert run.attempts[0].progress.phase != "lies"


def test_a_running_vm_of_anothers_is_not_taken_over(scene: Scene) -> None:
    before = everything(scene)
    scene.beta.inventory({"vda": SIZE})
    assert everything(scene) == before
    scene.beta.inventory({}, revision=2)
    assert everything(scene) == before


def test_anothers_packs_are_neither_readable_nor_usable(scene: Scene) -> None:
    """Beta in a backup of its own: it may name no pack of alpha's, in no way."""
    vm_id, name = str(uuid.UUID(int=5)), "of-beta"
    scene.beta.inventory({"vda": SIZE}, revision=3, vm_id=vm_id, vm_name=name)
    scene.controller.start_backup(name)
    attempt = scene.beta.next_assignment().attempt
    scene.beta.accept(attempt)
    named: dict[str, Any] = {"session_id": scene.beta.session_id, "attempt": attempt}
    for pack_id in scene.packs:
        read = agent_pb2.GetReadUrlsRequest(**named, packs=[agent_pb2.PackRef(pack_id=pack_id)])
        assert refusal(scene.beta, "GetReadUrls", read) == "PACK_NOT_READABLE"
        seal = agent_pb2.SealPackRequest(**named, pack_id=pack_id, length_bytes=9, content_md5=bytes(16))
        assert refusal(scene.beta, "SealPack", seal) == "PACK_FOREIGN"
        stored = agent_pb2.PackStoredRequest(**named, pack_id=pack_id)
        assert refusal(scene.beta, "PackStored", stored) == "PACK_FOREIGN"
    # Alpha's root and refmap, word for word, put below beta's attempt.
    request = scene.beta.hand_in(attempt, scene.written)
    assert refusal(scene.beta, "CompleteAttempt", request) in ("BAD_ROOT", "FOREIGN_ROOT", "BAD_REFMAP")
    failure = resources_pb2.Failure(reason="ENOUGH", kind=resources_pb2.FAILURE_KIND_PERMANENT)
    scene.beta.fail(attempt, failure)


MD5 = bytes(16)
OUT_OF_BOUNDS: list[tuple[str, dict[str, object], str]] = [
    ("Lookup", {"chunk_ids": b"odd"}, "BAD_IDS"),
    ("Lookup", {"chunk_ids": bytes(16 * 4097)}, "TOO_MANY_IDS"),
    ("SealPack", {"pack_id": b"x", "length_bytes": 1, "content_md5": MD5}, "BAD_PACK"),
    ("SealPack", {"pack_id": bytes(16), "length_bytes": 0, "content_md5": MD5}, "BAD_PACK"),
    ("SealPack", {"pack_id": bytes(16), "length_bytes": 1 << 40, "content_md5": MD5}, "BAD_PACK"),
    ("PackStored", {"pack_id": b"../../etc/passwd"}, "PACK_NOT_IN_STORE"),
    ("SealHandIn", {"what": 77, "length_bytes": 1}, "BAD_HAND_IN"),
]


@pytest.mark.parametrize(("method", "fields", "reason"), OUT_OF_BOUNDS)
def test_requests_out_of_bounds(scene: Scene, method: str, fields: dict[str, object], reason: str) -> None:
    request = getattr(agent_pb2, f"{method}Request")(session_id=scene.alpha.session_id, attempt=scene.attempt, **fields)
    assert refusal(scene.alpha, method, request) == reason


def test_a_renewal_is_for_the_caller_and_needs_a_proven_key(scene: Scene) -> None:
    for csr in (b"", b"garbage", csr_of(new_key())[:-1], bytes(3_000_000)):
        assert refusal(scene.beta, "RenewCertificate", agent_pb2.RenewCertificateRequest(csr_der=csr)) == "BAD_CSR"
    renewed = scene.beta.stub.RenewCertificate(agent_pb2.RenewCertificateRequest(csr_der=csr_of(new_key())))
    (leaf, *_) = x509.load_pem_x509_certificates(renewed.certificate_pem)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert uri.endswith(f"/agent/{scene.beta.agent_id}")


def channel(controller: Controller, authority: CertificateAuthority, agent_id: str) -> ScriptedAgent:
    key = new_key()
    chain = authority.issue_agent(agent_id, key.public_key(), 3600).chain_pem
    ours = authority_of(controller)
    credentials = grpc.ssl_channel_credentials(ours.bundle_pem, key_pem(key).reveal(), chain)
    address = f"127.0.0.1:{controller.ports.agent}"
    return ScriptedAgent(address, credentials, agent_id, "liar", None)  # type: ignore[arg-type]


def authority_of(controller: Controller) -> CertificateAuthority:
    paths = controller.config.paths
    return CertificateAuthority.load(paths, SecretBox.from_file(paths.kek), SystemClock())


def test_certificates_of_others(scene: Scene, tmp_path: Path) -> None:
    """Of another controller for a host of ours: no handshake. Of ours for a host that was never enrolled: no call."""
    foreign = configured(tmp_path / "other").paths
    theirs = CertificateAuthority.load(foreign, SecretBox.from_file(foreign.kek), SystemClock())
    liar = channel(scene.controller, theirs, scene.alpha.agent_id)
    with pytest.raises(grpc.RpcError) as caught:
        liar.hello()
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    stranger = channel(scene.controller, authority_of(scene.controller), str(uuid.UUID(int=3)))
    assert refusal(stranger, "Hello", agent_pb2.HelloRequest(protocol_min=1, protocol_max=1)) == "AGENT_REVOKED"
    bare = grpc.secure_channel(
        f"127.0.0.1:{scene.controller.ports.agent}",
        grpc.ssl_channel_credentials(authority_of(scene.controller).bundle_pem),
        [("grpc.use_local_subchannel_pool", 1)],
    )
    with bare, pytest.raises(grpc.RpcError) as caught:
        agent_pb2_grpc.AgentServiceStub(bare).Hello(agent_pb2.HelloRequest(), timeout=10)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def until_refused(call: Callable[[], object]) -> str:
    """A yes is remembered for five seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            call()
        except grpc.RpcError as error:
            return reason_of(error)
    raise AssertionError("never refused")


def test_a_revoked_host_may_say_nothing_more(tmp_path: Path) -> None:
    with running(configured(tmp_path / "state")) as controller:
        host = enrolled(controller, "gamma")
        host.beat()
        DatabaseEnrolment(controller.application._database).revoke_agent(host.agent_id)
        assert until_refused(host.beat) == "AGENT_REVOKED"
        host.connect()
        assert refusal(host, "Hello", agent_pb2.HelloRequest(protocol_min=1, protocol_max=1)) == "AGENT_REVOKED"
        assert refusal(host, "RenewCertificate", agent_pb2.RenewCertificateRequest(csr_der=b"")) == "AGENT_REVOKED"
        shown = controller.backups.ListHosts(operator_pb2.ListHostsRequest()).hosts
        assert [each.online for each in shown] == [False]
