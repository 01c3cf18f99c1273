"""GetReadUrls of a real controller: which generation is signed, and that none is for who may not read the pack."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from seawall.api.v1 import agent_pb2, operator_pb2, resources_pb2
from seawall.repository.format.layout import pack_name, parse_pack_name
from seawall.repository.store.folder import FolderStore
from support.collecting import TENANT
from support.controller_agent import VM_NAME, ScriptedAgent, enrolled
from support.controller_application import Controller, configured, reason_of, running
from support.memory_disks import ModelDisk
from support.rescue_world import patterned

SIZE = 4 << 20
WHICHEVER = (1 << 32) - 1


@dataclass
class Site:
    """Alpha has two points of its VM. `first`: data packs of the first alone, `second`: of the second alone; generation 0 counts."""

    controller: Controller
    alpha: ScriptedAgent
    bucket: FolderStore
    points: tuple[str, str]
    first: bytes
    second: bytes

    def restoring(self, agent: ScriptedAgent, point_id: str) -> agent_pb2.AttemptRef:
        spec = resources_pb2.RestoreSpec(point_id=point_id, host_id=agent.name, new_identity=True, vm_name="again")
        self.controller.backups.StartRestore(operator_pb2.StartRestoreRequest(request_id=str(uuid.uuid4()), spec=spec))
        attempt = agent.next_assignment().attempt
        agent.accept(attempt)
        return attempt

    def put(self, pack_id: bytes, generation: int) -> None:
        self.bucket.put(pack_name(TENANT, pack_id, generation), b"whatever lies there")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running(configured(tmp_path / "state")) as controller:
        controller.add_folder(tmp_path / "bucket")
        bucket = FolderStore(tmp_path / "bucket")
        alpha = enrolled(controller, "alpha")
        alpha.inventory({"vda": SIZE})
        points, packs = [], []
        for seed in (1, 2):
            before = data_packs(bucket)
            controller.start_backup(VM_NAME)
            points.append(alpha.backup({"vda": disk(seed).source()}).point_id)
            packs.append(min(data_packs(bucket) - before))
        yield Site(controller, alpha, bucket, (points[0], points[1]), packs[0], packs[1])


def disk(seed: int) -> ModelDisk:
    return patterned(SIZE, seed, (0, 2 << 20))


def data_packs(bucket: FolderStore) -> set[bytes]:
    names = [name for info in bucket.list("v1/p/") if (name := parse_pack_name(info.name)) is not None]
    return {name.pack_id for name in names} - {name.pack_id for name in names if name.generation == 1}


def ask(agent: ScriptedAgent, attempt: agent_pb2.AttemptRef, *packs: tuple[bytes, int]) -> list[agent_pb2.ReadUrl]:
    refs = [agent_pb2.PackRef(pack_id=pack_id, generation=generation) for pack_id, generation in packs]
    request = agent_pb2.GetReadUrlsRequest(session_id=agent.session_id, attempt=attempt, packs=refs)
    return list(agent.stub.GetReadUrls(request, timeout=30).urls)


def signed(agent: ScriptedAgent, attempt: agent_pb2.AttemptRef, pack_id: bytes, *generations: int) -> list[int]:
    """What was signed for each; the URLs say the same."""
    urls = ask(agent, attempt, *((pack_id, generation) for generation in generations))
    assert [url.pack.pack_id for url in urls] == [pack_id] * len(generations)
    for url in urls:
        assert url.url.partition("?")[0].endswith(f"{pack_id.hex()}.{url.pack.generation}")
    return [url.pack.generation for url in urls]


def refused(agent: ScriptedAgent, attempt: agent_pb2.AttemptRef, *packs: tuple[bytes, int]) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        ask(agent, attempt, *packs)
    return reason_of(caught.value)


def test_what_lies_there_is_signed_and_for_all_else_the_present_one(site: Site) -> None:
    attempt = site.restoring(site.alpha, site.points[0])
    assert signed(site.alpha, attempt, site.first, 0, 1, 2, 7, WHICHEVER) == [0, 0, 0, 0, 0]
    site.put(site.first, 2)
    site.put(site.first, 11)
    assert signed(site.alpha, attempt, site.first, 0, 1, 2, 11, WHICHEVER) == [0, 0, 2, 11, 0]
    (url,) = ask(site.alpha, attempt, (site.first, 2))
    assert site.alpha.transfer.get(url.url) == b"whatever lies there"
    site.bucket.delete(pack_name(TENANT, site.first, 0))
    assert signed(site.alpha, attempt, site.first, 0, WHICHEVER) == [0, 0], "the catalogue counts on it"


def test_no_generation_is_signed_for_who_may_not_read_the_pack(site: Site) -> None:
    """Beta restores alpha's first point, and alpha's next backup has the second as its parent: neither may have of the other's."""
    beta = enrolled(site.controller, "beta")
    beta.inventory({"vda": SIZE}, vm_id=str(uuid.UUID(int=5)), vm_name="of-beta")
    restores = site.restoring(beta, site.points[0])
    site.controller.start_backup(VM_NAME)
    backs_up = site.alpha.next_assignment().attempt
    site.alpha.accept(backs_up)
    for pack_id in (site.first, site.second):
        site.put(pack_id, 2)
    for generation in (0, 1, 2, 7, WHICHEVER):
        assert refused(beta, restores, (site.second, generation)) == "PACK_NOT_READABLE"
        assert refused(site.alpha, backs_up, (site.first, generation)) == "PACK_NOT_READABLE"
        assert refused(beta, restores, (bytes(16), generation)) == "PACK_NOT_READABLE", "one that nobody has"
    assert refused(beta, restores, (site.first, 2), (site.second, 2)) == "PACK_NOT_READABLE", "not even what it may"
    assert signed(beta, restores, site.first, 2, 0) == [2, 0]
    assert signed(site.alpha, backs_up, site.second, 2, 0) == [2, 0]


def test_a_call_has_its_bound(site: Site) -> None:
    attempt = site.restoring(site.alpha, site.points[0])
    assert signed(site.alpha, attempt, site.first, *range(256)) == [0] * 256
    assert refused(site.alpha, attempt, *((site.first, generation) for generation in range(257))) == "TOO_MANY_PACKS"
