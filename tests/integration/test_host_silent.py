"""What `host show` says of a host that is not heard of any more: what was so of that moment alone, it says no longer."""

from dataclasses import replace
from pathlib import Path

from seawall.api.v1 import resources_pb2
from support.run_scene import FRAIL, SIZE, Scene, a_scene

QUIET = replace(FRAIL, lease_ttl_seconds=3.0, reattach_grace_seconds=600.0)
"""Lost after three seconds, which a busy machine needs between two heartbeats; given up long after the test."""


def shown(scene: Scene) -> tuple[str, int, int]:
    """(state, how much of the one run there was read, seconds that are left of it)."""
    found = scene.operator("host", "show", "alpha", "--json").json
    (run,) = found["runs"]
    return "online" if found["host"]["online"] else "offline", int(run["read_bytes"]), run["eta_seconds"]


def test_how_long_its_runs_still_take_is_not_told(tmp_path: Path) -> None:
    with a_scene(tmp_path, QUIET) as scene:
        attempt = scene.accepted()
        disk = resources_pb2.DiskProgress(disk="vda", size_bytes=SIZE, planned_bytes=SIZE, read_bytes=SIZE // 4)
        state = resources_pb2.ATTEMPT_STATE_TRANSFERRING
        scene.alpha.beat(
            resources_pb2.AttemptProgress(
                attempt_id=attempt.attempt_id, seq=1, state=state, eta_seconds=75, disks=[disk]
            )
        )
        assert shown(scene) == ("online", SIZE // 4, 75)
        assert "25 %  1:15" in scene.operator("host", "show", "alpha").out
        scene.watch(lambda run: run.attempts[0].state == resources_pb2.ATTEMPT_STATE_LOST)
        assert shown(scene) == ("offline", SIZE // 4, 0)
        text = scene.operator("host", "show", "alpha").out
        assert "25 %" in text and "last seen" in text and "1:15" not in text
