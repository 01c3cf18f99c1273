"""The repository behind a scripted controller: grants, a chunk index, signed URLs of a folder store, and commits."""

import uuid
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from seawall.api.v1 import agent_pb2 as wire
from seawall.api.v1 import resources_pb2 as resources
from seawall.repository.clock import SystemClock
from seawall.repository.crypto.keys import new_secrets
from seawall.repository.format.layout import hand_in_name, manifest_name, pack_name
from seawall.repository.format.pack import parse_table
from seawall.repository.format.record import ChunkType
from seawall.repository.format.refmap import decode_refmap
from seawall.repository.format.root_object import Statement, open_manifest, sign_manifest, unseal_data_key
from seawall.repository.generations import stored_generations
from seawall.repository.store.folder import FolderStore, create_folder
from seawall.repository.store.port import SignedPut

TENANT = "default"
EXPIRES_SECONDS = 600


@dataclass
class ScriptedRepository:
    """A DataPlane. `runs`: attempt id -> (run id, VM id); `restores`: attempt id -> point id, set by the test."""

    folder: Path
    runs: dict[str, tuple[str, str]] = field(default_factory=dict)
    restores: dict[str, str] = field(default_factory=dict)
    points: dict[str, bytes] = field(default_factory=dict)  # point id -> its m/ object
    newest: dict[str, str] = field(default_factory=dict)  # VM id -> point id
    vms: dict[str, str] = field(default_factory=dict)  # point id -> VM id
    index: dict[bytes, wire.ChunkLocation] = field(default_factory=dict)
    slots: dict[bytes, set[int]] = field(default_factory=dict)
    condemn_on_complete: int = 0
    condemned: list[tuple[bytes, int]] = field(default_factory=list)
    stored: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        create_folder(self.folder)
        self.store = FolderStore(self.folder, SystemClock())
        self.secrets = new_secrets()
        self.lineage = uuid.uuid4().bytes
        self.repository_id = str(uuid.uuid4())

    def grant(self, ref: wire.AttemptRef) -> wire.AcceptAttemptResponse:
        k_dedup = self.secrets.k_dedup(TENANT, 1)
        if ref.attempt_id in self.restores:
            point_id = self.restores[ref.attempt_id]
            return wire.AcceptAttemptResponse(
                restore=wire.RestoreGrant(
                    tenant=TENANT,
                    vm_id=self.vms[point_id],
                    lineage_id=self.lineage,
                    k_dedup=k_dedup,
                    signing_public_key=self.secrets.signing_public_key,
                    point=self._point(point_id),
                    spec=resources.RestoreSpec(point_id=point_id, new_identity=True),
                )
            )
        run_id, vm_id = self.runs[ref.attempt_id]
        return wire.AcceptAttemptResponse(
            backup=wire.BackupGrant(
                run_id=run_id,
                vm_id=vm_id,
                tenant=TENANT,
                repository_id=self.repository_id,
                lineage_id=self.lineage,
                key_epoch=1,
                k_dedup=k_dedup,
                cut_key=self.secrets.cut_key,
                repository_public_key=self.secrets.repository_public_key,
                chunk_nominal_bytes=64 * 1024,
                compression_level=1,
                pack_target_bytes=1 << 20,
                freeze=resources.FREEZE_POLICY_NEVER,
                parent=self._point(self.newest[vm_id]) if vm_id in self.newest else None,
            )
        )

    def lookup(self, request: wire.LookupRequest) -> wire.LookupResponse:
        ids = [request.chunk_ids[at : at + 16] for at in range(0, len(request.chunk_ids), 16)]
        found = []
        for position, chunk_id in enumerate(ids):
            if chunk_id in self.index:
                location = wire.ChunkLocation()
                location.CopyFrom(self.index[chunk_id])
                location.index = position
                found.append(location)
        return wire.LookupResponse(found=found)

    def seal_pack(self, request: wire.SealPackRequest) -> wire.SealPackResponse:
        if request.pack_id in self.slots:
            return wire.SealPackResponse(already_stored=True)
        targets = [
            self.store.sign_put(
                pack_name(TENANT, request.pack_id, generation),
                request.length_bytes,
                request.content_md5,
                expires_seconds=EXPIRES_SECONDS,
            )
            for generation in ((0, 1) if request.meta else (0,))
        ]
        return wire.SealPackResponse(targets=[_target(target) for target in targets])

    def pack_stored(self, request: wire.PackStoredRequest) -> wire.PackStoredResponse:
        body = self.store.get(pack_name(TENANT, request.pack_id, 0))
        table = parse_table(body, len(body))
        assert not isinstance(table, int)
        self.stored.append(request.pack_id)
        self.slots[request.pack_id] = {int(row["slot"]) for row in table}
        for row in table:
            if row["type"] == ChunkType.DATA:
                self.index[row["chunk_id"].tobytes()] = wire.ChunkLocation(
                    pack_id=request.pack_id,
                    slot=int(row["slot"]),
                    offset=int(row["offset"]),
                    stored_bytes=int(row["stored_bytes"]),
                    raw_bytes=int(row["raw_bytes"]),
                    codec=int(row["codec"]),
                )
        return wire.PackStoredResponse()

    def seal_hand_in(self, request: wire.SealHandInRequest) -> wire.SealHandInResponse:
        name = hand_in_name(
            request.attempt.attempt_id, "root" if request.what == wire.HAND_IN_ROOT else "refmap", request.content_hash
        )
        target = self.store.sign_put(name, request.length_bytes, request.content_md5, expires_seconds=EXPIRES_SECONDS)
        return wire.SealHandInResponse(target=_target(target))

    def read_urls(self, request: wire.GetReadUrlsRequest) -> wire.GetReadUrlsResponse:
        """Nothing is compacted here: generation 0 counts."""
        answer = wire.GetReadUrlsResponse()
        for asked in request.packs:
            lies = asked.generation in stored_generations(self.store, TENANT, asked.pack_id)
            pack = wire.PackRef(pack_id=asked.pack_id, generation=asked.generation if lies else 0)
            name = pack_name(TENANT, pack.pack_id, pack.generation)
            url = answer.urls.add(pack=pack, url=self.store.sign_get(name, expires_seconds=EXPIRES_SECONDS))
            url.expires_at.FromMicroseconds(SystemClock().now_us() + EXPIRES_SECONDS * 1_000_000)
        return answer

    def complete(self, request: wire.CompleteAttemptRequest) -> wire.CompleteAttemptResponse:
        attempt_id = request.attempt.attempt_id
        if attempt_id in self.restores:
            return wire.CompleteAttemptResponse(point_id=self.restores[attempt_id])
        run_id, vm_id = self.runs[attempt_id]
        if run_id in self.points:
            return wire.CompleteAttemptResponse(point_id=run_id)
        root = self.store.get(hand_in_name(attempt_id, "root", request.root_hash))
        refmap_body = self.store.get(hand_in_name(attempt_id, "refmap", request.refmap_hash))
        assert blake3(root).digest() == request.root_hash and blake3(refmap_body).digest() == request.refmap_hash
        named = {(pack, int(slot)) for pack, slots in decode_refmap(refmap_body)[1].slots().items() for slot in slots}
        self._condemn(named)
        missing = [
            (pack, slot)
            for pack, slot in sorted(named)
            if (pack, slot) in self.condemned or slot not in self.slots.get(pack, set())
        ]
        if missing:
            return wire.CompleteAttemptResponse(
                missing_slots=[wire.SlotRef(pack_id=pack, slot=slot) for pack, slot in missing]
            )
        statement = Statement(
            self.lineage,
            TENANT,
            vm_id,
            run_id,
            1,
            1,
            SystemClock().now_us(),
            request.root_hash,
            request.refmap_hash,
            b"",
        )
        manifest = sign_manifest(statement, root, self.secrets.signing_secret_key)
        self.store.put(manifest_name(TENANT, vm_id, run_id), manifest)
        self.points[run_id], self.newest[vm_id], self.vms[run_id] = manifest, run_id, vm_id
        return wire.CompleteAttemptResponse(point_id=run_id)

    def _condemn(self, named: set[tuple[bytes, int]]) -> None:
        """As if a collection had condemned some slots just before: they leave the index for ever."""
        data = [(loc.pack_id, loc.slot) for loc in self.index.values() if (loc.pack_id, loc.slot) in named]
        for pack, slot in sorted(data)[: self.condemn_on_complete]:
            self.condemned.append((pack, slot))
        self.condemn_on_complete = 0
        self.index = {
            chunk_id: loc for chunk_id, loc in self.index.items() if (loc.pack_id, loc.slot) not in self.condemned
        }

    def _point(self, point_id: str) -> wire.PointGrant:
        manifest = self.points[point_id]
        name = manifest_name(TENANT, self.vms[point_id], point_id)
        _, root = open_manifest(manifest, self.secrets.signing_public_key)
        return wire.PointGrant(
            point_id=point_id,
            url=self.store.sign_get(name, expires_seconds=EXPIRES_SECONDS),
            data_key=unseal_data_key(root, self.secrets.repository_secret_key),
            m_hash=blake3(manifest).digest(),
        )


def _target(put: SignedPut) -> wire.PutTarget:
    target = wire.PutTarget(url=put.url, headers=dict(put.headers))
    target.expires_at.FromMicroseconds(put.expires_us)
    return target
