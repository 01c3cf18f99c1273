"""Agent and controller of different versions: today's, one before, two before, and one too many; sessions, backups, restores."""

import asyncio
import random
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from seawall.api.v1 import limits_pb2, limits_pb2_grpc, operator_pb2, resources_pb2
from seawall.controller.services.protocol import Protocols
from support.agent_file_joined import VM, joined, known, web_image
from support.controller_agent import enrolled
from support.controller_application import Controller, configured, reason_of, running
from support.older_wire import WIRES, older_wire

N = 5
OPEN = (resources_pb2.RUN_STATE_READY, resources_pb2.RUN_STATE_ACTIVE)
CONTENT = random.Random(8).randbytes(700_000) + bytes(65536)


def test_agents_of_three_protocols_are_served_and_others_are_told(tmp_path: Path) -> None:
    with running(configured(tmp_path / "state"), protocols=Protocols(N)) as controller:
        for spoken, agreed in {(N, N): N, (N - 1, N - 1): N - 1, (N - 2, N - 2): N - 2, (1, 9): N, (1, 4): 4}.items():
            agent = enrolled(controller, f"host-{spoken}", spoken)
            agent.inventory({"vda": 1 << 20}, vm_id=str(uuid.uuid4()))
            agent.beat()
            assert agent.agreed == agreed
        for refused in ((N - 3, N - 3), (N + 1, N + 2)):
            with pytest.raises(grpc.RpcError) as caught:
                enrolled(controller, "other", refused)
            assert reason_of(caught.value) == "NEEDS_UPGRADE" and "upgrade" in (caught.value.details() or "")


@pytest.mark.parametrize(
    "wire",
    [
        "baseline",
        pytest.param("before replicas", marks=pytest.mark.slow),
        pytest.param("before policies", marks=pytest.mark.slow),
    ],
)
async def test_an_older_one_backs_up_and_restores(wire: str, tmp_path: Path) -> None:
    """Whichever of the two it is: neither hears what it did not know then."""
    web_image(tmp_path, CONTENT)
    with running(configured(tmp_path / "controller")) as controller:
        controller.add_folder(tmp_path / "repository")
        host = await joined(controller, tmp_path)
        async with older_wire(WIRES[wire], host, controller) as between:
            host = replace(host, config=replace(host.config, controllers=(between.address,)))
            async with host.running():
                await known(controller)
                backup = operator_pb2.StartBackupRequest(request_id=str(uuid.uuid4()), vms=["web"])
                point = await over(controller, controller.backups.StartBackup(backup).runs[0])
                again = operator_pb2.StartBackupRequest(request_id=str(uuid.uuid4()), vms=["web"])
                await over(controller, controller.backups.StartBackup(again).runs[0])
                spec = resources_pb2.RestoreSpec(
                    point_id=point.point_id, host_id="alpha", new_identity=True, vm_name="web-again"
                )
                restore = operator_pb2.StartRestoreRequest(request_id=str(uuid.uuid4()), spec=spec)
                await over(controller, controller.backups.StartRestore(restore).run)
                rotation = operator_pb2.RotateAuthorityRequest(request_id=str(uuid.uuid4()))
                await asyncio.to_thread(controller.admin.RotateAuthority, rotation)
                await older_is_named(controller)
        assert "Hello" in between.lost, "nothing was newer: this shows nothing"
    restored = [path for path in (tmp_path / "vms").iterdir() if path.name != VM]
    assert [(path / "vda.img").read_bytes() for path in restored] == [CONTENT]


async def over(controller: Controller, run: Any) -> Any:
    async with asyncio.timeout(90):
        while run.state in OPEN:
            await asyncio.sleep(0.05)
            run = (await asyncio.to_thread(controller.backups.GetRun, operator_pb2.GetRunRequest(run=run.run_id))).run
    assert run.state == resources_pb2.RUN_STATE_SUCCEEDED, run
    return run


async def older_is_named(controller: Controller) -> None:
    """A rotation does not pass over an agent that cannot say what it trusts, and says why it waits."""
    for _ in range(3):
        await asyncio.sleep(0.2)
        found = (await asyncio.to_thread(controller.admin.GetAuthority, operator_pb2.GetAuthorityRequest())).authority
        assert found.phase == operator_pb2.AUTHORITY_PHASE_TRUSTING
        assert "its agent is older" in found.behind[0].why and "Upgrade it" in found.behind[0].why


def test_masks_over_the_wire(tmp_path: Path) -> None:
    """A limit that an older command line does not name stays; a wrong path is refused by name."""
    with running(configured(tmp_path / "state")) as controller:
        stub = limits_pb2_grpc.LimitServiceStub(controller.channel)

        def set_limit(*paths: str, **values: int) -> limits_pb2.ScopeLimits:
            mask = FieldMask(paths=paths)
            request = limits_pb2.SetLimitRequest(
                request_id=str(uuid.uuid4()),
                scope="global",
                update_mask=mask,
                **values,
            )
            return stub.SetLimit(request).limits

        set_limit("preparing", "transferring", preparing=3, transferring=9)
        after = set_limit("preparing", preparing=4, transferring=1)
        assert (after.preparing.cap, after.transferring.cap) == (4, 9)
        after = set_limit("transferring")
        assert after.preparing.cap == 4 and after.transferring.source == "built-in"
        with pytest.raises(grpc.RpcError) as caught:
            set_limit("speed", preparing=1)
        assert reason_of(caught.value) == "BAD_MASK" and "'speed'" in (caught.value.details() or "")
