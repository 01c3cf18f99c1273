"""A scripted agent: enrols, says hello, and drives attempts step by step with the real point writer and reader."""

import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc
import numpy as np
from blake3 import blake3
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from numpy.typing import NDArray

from seawall.api.v1 import agent_pb2, agent_pb2_grpc, enroll_pb2, operator_pb2, resources_pb2
from seawall.controller.certificates.generation import new_key
from seawall.repository.crypto.signing import SIGNATURE_BYTES
from seawall.repository.disks import DiskSource
from seawall.repository.errors import ObjectMissing
from seawall.repository.format.descriptor import read_descriptor
from seawall.repository.format.header import MANIFEST
from seawall.repository.format.pack import SealedPack
from seawall.repository.format.record import Codec, Locator
from seawall.repository.format.root_object import open_manifest, open_root
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.tables import table_by_suffix
from seawall.repository.store.port import SignedPut
from seawall.repository.store.presigned import PresignedClient
from seawall.repository.store.signed_headers import md5_of
from seawall.repository.writing.facts import DiskToWrite, PointFacts, WriteSettings, WrittenPoint
from seawall.repository.writing.point import PointWriter
from support.controller_application import Controller
from support.controller_shell import csr_of

VM_ID = "11111111-1111-4111-8111-111111111111"
VM_NAME = "db-1"
INSTANT_US = 1_800_000_000_000_000
HAND_INS = 3


@dataclass
class ScriptedAgent:
    """One host. `transfer` reaches the store as a worker does."""

    address: str
    credentials: grpc.ChannelCredentials
    agent_id: str
    name: str
    transfer: PresignedClient
    session_id: str = ""
    generation: int = 0
    puts: list[str] = field(default_factory=list)
    instant_us: int = INSTANT_US
    protocols: tuple[int, int] = (1, 1)
    """The oldest and the newest that it speaks."""
    agreed: int = 0
    """What its session is held in."""

    def __post_init__(self) -> None:
        self.connect()

    def connect(self) -> None:
        """A new channel. Its pool is its own: channels to one address else share the connection, and with it the certificate."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.secure_channel(self.address, self.credentials, options)
        self.stub = agent_pb2_grpc.AgentServiceStub(self.channel)

    def hello(
        self, running: Sequence[agent_pb2.AttemptRef] = (), over: Sequence[agent_pb2.AttemptRef] = ()
    ) -> list[str]:
        """Ids of attempts to abandon."""
        known = [agent_pb2.JournalledAttempt(attempt=each, worker_running=True) for each in running]
        known += [agent_pb2.JournalledAttempt(attempt=each, worker_running=False) for each in over]
        answer = self.stub.Hello(
            agent_pb2.HelloRequest(
                protocol_min=self.protocols[0],
                protocol_max=self.protocols[1],
                agent_version="1",
                boot_id=str(uuid.uuid4()),
                host_name=self.name,
                hypervisor_version="libvirt 9.0.0",
                attempts=known,
            )
        )
        self.session_id, self.agreed = answer.session_id, answer.protocol
        return list(answer.abandon_attempt_ids)

    def inventory(
        self, disks: Mapping[str, int], revision: int = 1, vm_id: str = VM_ID, vm_name: str = VM_NAME
    ) -> None:
        vm = resources_pb2.Vm(
            vm_id=vm_id,
            name=vm_name,
            state="running",
            disks=[
                resources_pb2.VmDisk(disk=disk, size_bytes=size, format="raw", source=f"/{disk}.raw", device="disk")
                for disk, size in disks.items()
            ],
        )
        vms = [vm] if disks else []
        self.stub.ReportInventory(
            agent_pb2.ReportInventoryRequest(session_id=self.session_id, revision=revision, last=True, vms=vms)
        )

    def next_assignment(self, known: int | None = None) -> agent_pb2.Assignment:
        """Polls until something is assigned. A busy machine may have taken its lease before: it is heard of again, as a real host is."""
        for _ in range(20):
            answer = self.poll(self.generation if known is None else known)
            if answer.assignments:
                return answer.assignments[0]
            self.beat()
        raise AssertionError("nothing was assigned")

    def poll(self, known: int, wait_seconds: int = 5) -> agent_pb2.PollResponse:
        request = agent_pb2.PollRequest(session_id=self.session_id, known_generation=known)
        request.wait.seconds = wait_seconds
        answer = self.stub.Poll(request, timeout=10)
        self.generation = answer.generation
        return answer

    def accept(self, attempt: agent_pb2.AttemptRef) -> agent_pb2.AcceptAttemptResponse:
        return self.stub.AcceptAttempt(agent_pb2.AcceptAttemptRequest(session_id=self.session_id, attempt=attempt))

    def beat(self, *progress: resources_pb2.AttemptProgress) -> agent_pb2.HeartbeatResponse:
        return self.stub.Heartbeat(agent_pb2.HeartbeatRequest(session_id=self.session_id, attempts=progress))

    def fail(self, attempt: agent_pb2.AttemptRef, failure: resources_pb2.Failure, canceled: bool = False) -> None:
        self.stub.FailAttempt(
            agent_pb2.FailAttemptRequest(
                session_id=self.session_id, attempt=attempt, failure=failure, canceled=canceled
            )
        )

    def write(
        self,
        attempt: agent_pb2.AttemptRef,
        grant: agent_pb2.BackupGrant,
        disks: Mapping[str, DiskSource],
        how: str = "full",
    ) -> WrittenPoint:
        """Everything up to the hand-in, with the real writer."""
        settings = WriteSettings(
            grant.lineage_id,
            grant.tenant,
            grant.key_epoch,
            grant.k_dedup,
            grant.cut_key,
            grant.repository_public_key,
            grant.chunk_nominal_bytes,
            grant.compression_level,
            grant.pack_target_bytes,
        )
        wire = WirePacks(self, attempt)
        parent = None
        if grant.HasField("parent"):
            parent = self.reader(attempt, grant.lineage_id, grant.k_dedup, grant.parent)
        bad = {(one.pack_id, slot) for one in grant.bad_slots for slot in SlotSet.parse(one.slots)}
        with PointWriter(settings, wire, parent=parent, bad=bad) as writer:
            for name, source in disks.items():
                writer.write_disk(DiskToWrite(name, "raw", f"/{name}.raw", 512, how, "", source))
            return writer.finish(PointFacts(grant.vm_id, VM_NAME, grant.run_id, self.instant_us, False, None))

    def reader(
        self,
        attempt: agent_pb2.AttemptRef,
        lineage_id: bytes,
        k_dedup: bytes,
        point: agent_pb2.PointGrant,
        signing_key: bytes | None = None,
    ) -> PointReader:
        body = self.transfer.get(point.url)
        assert blake3(body).digest() == point.m_hash
        if signing_key is not None:
            _, root_object = open_manifest(body, signing_key)
        else:
            _, end = read_descriptor(body, MANIFEST, "manifest")
            root_object = body[end + SIGNATURE_BYTES :]
        return PointReader(open_root(root_object, point.data_key), lineage_id, k_dedup, WirePacks(self, attempt))

    def hand_in(self, attempt: agent_pb2.AttemptRef, point: WrittenPoint) -> agent_pb2.CompleteAttemptRequest:
        """PUTs root and refmap; returns the request that completes."""
        for what, body in ((agent_pb2.HAND_IN_ROOT, point.root_object), (agent_pb2.HAND_IN_REFMAP, point.refmap)):
            sealed = self.stub.SealHandIn(
                agent_pb2.SealHandInRequest(
                    session_id=self.session_id,
                    attempt=attempt,
                    what=what,
                    length_bytes=len(body),
                    content_md5=md5_of(body),
                    content_hash=blake3(body).digest(),
                )
            )
            self.put(sealed.target, body)
        request = agent_pb2.CompleteAttemptRequest(
            session_id=self.session_id,
            attempt=attempt,
            root_hash=blake3(point.root_object).digest(),
            refmap_hash=blake3(point.refmap).digest(),
            disks=[
                resources_pb2.PointDisk(
                    disk=each.disk,
                    size_bytes=each.virtual_bytes,
                    format="raw",
                    read_bytes=each.read_bytes,
                    new_bytes=each.new_bytes,
                    stored_bytes=each.stored_bytes,
                    how=resources_pb2.ReadMethod.Value(f"READ_METHOD_{each.how.upper()}"),
                    why=each.why,
                )
                for each in point.disks
            ],
        )
        request.instant.FromMicroseconds(self.instant_us)
        return request

    def put(self, target: agent_pb2.PutTarget, body: bytes | bytearray | memoryview) -> None:
        self.puts.append(target.url)
        signed = SignedPut(target.url, dict(target.headers), int(target.expires_at.ToMicroseconds()))
        self.transfer.put(signed, memoryview(body))

    def backup(self, disks: Mapping[str, DiskSource], how: str = "full") -> agent_pb2.CompleteAttemptResponse:
        """The whole of an attempt that is assigned. What a collection condemned since Lookup named it is stored anew, as a worker does."""
        assignment = self.next_assignment()
        grant = self.accept(assignment.attempt).backup
        for _ in range(HAND_INS):
            written = self.write(assignment.attempt, grant, disks, how)
            answer = self.stub.CompleteAttempt(self.hand_in(assignment.attempt, written))
            if not answer.missing_slots:
                break
        return answer


class WirePacks:
    """The writer's and the reader's ports over gRPC and signed URLs."""

    def __init__(self, agent: ScriptedAgent, attempt: agent_pb2.AttemptRef) -> None:
        self._agent = agent
        self._attempt = attempt
        self._lock = threading.Lock()

    def lookup(self, chunk_ids: Sequence[bytes]) -> Mapping[bytes, Locator]:
        answer = self._agent.stub.Lookup(
            agent_pb2.LookupRequest(
                session_id=self._agent.session_id, attempt=self._attempt, chunk_ids=b"".join(chunk_ids)
            )
        )
        return {
            chunk_ids[each.index]: Locator(
                each.pack_id,
                each.generation,
                each.slot,
                each.offset,
                each.stored_bytes,
                each.raw_bytes,
                Codec(each.codec),
            )
            for each in answer.found
        }

    def store_pack(self, pack: SealedPack) -> None:
        sealed = seal(self._agent, self._attempt, pack)
        if sealed.already_stored:
            return
        with self._lock:
            for target in sealed.targets:
                self._agent.put(target, pack.body)
        stored(self._agent, self._attempt, pack.pack_id)

    def read(self, pack_id: bytes, generation: int, offset: int, length: int) -> bytes:
        signed = self._signed(pack_id, generation)
        if signed.pack.generation != generation:
            raise ObjectMissing(f"pack {pack_id.hex()}.{generation} was replaced by {signed.pack.generation}")
        return self._agent.transfer.get_range(signed.url, offset, length)

    def generations(self, pack_id: bytes) -> Sequence[int]:
        return (self._signed(pack_id, (1 << 32) - 1).pack.generation,)

    def table(self, pack_id: bytes, generation: int) -> NDArray[np.void]:
        signed = self._signed(pack_id, generation)
        return table_by_suffix(lambda length: self._agent.transfer.get_suffix(signed.url, length))

    def _signed(self, pack_id: bytes, generation: int) -> agent_pb2.ReadUrl:
        pack = agent_pb2.PackRef(pack_id=pack_id, generation=generation)
        answer = self._agent.stub.GetReadUrls(
            agent_pb2.GetReadUrlsRequest(session_id=self._agent.session_id, attempt=self._attempt, packs=[pack])
        )
        return answer.urls[0]


def seal(agent: ScriptedAgent, attempt: agent_pb2.AttemptRef, pack: SealedPack) -> agent_pb2.SealPackResponse:
    return agent.stub.SealPack(
        agent_pb2.SealPackRequest(
            session_id=agent.session_id,
            attempt=attempt,
            pack_id=pack.pack_id,
            length_bytes=len(pack.body),
            content_md5=md5_of(pack.body),
            meta=pack.meta,
        )
    )


def stored(agent: ScriptedAgent, attempt: agent_pb2.AttemptRef, pack_id: bytes) -> None:
    agent.stub.PackStored(agent_pb2.PackStoredRequest(session_id=agent.session_id, attempt=attempt, pack_id=pack_id))


def enrolled(controller: Controller, name: str, protocols: tuple[int, int] = (1, 1)) -> ScriptedAgent:
    """A new host, with a session."""
    token = controller.admin.CreateJoinToken(operator_pb2.CreateJoinTokenRequest(request_id=str(uuid.uuid4()))).token
    token_id, _, secret = token.split(":")[3].partition(".")
    key = new_key()
    answer = controller.enrolment.Enroll(
        enroll_pb2.EnrollRequest(token_id=token_id, token_secret=secret, csr_der=csr_of(key), host_name=name)
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    credentials = grpc.ssl_channel_credentials(answer.ca_bundle_pem, pem, answer.certificate_pem)
    agent = ScriptedAgent(
        answer.agent_address, credentials, answer.agent_id, name, PresignedClient(), protocols=protocols
    )
    agent.hello()
    return agent
