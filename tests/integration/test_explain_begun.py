"""What is told of runs, by `run explain` above all: a host that falls silent, how disks are read and why, a VM without a point."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.api.v1 import agent_pb2, limits_pb2, limits_pb2_grpc, operator_pb2, resources_pb2
from seawall.repository.clock import SystemClock
from support.controller_agent import enrolled
from support.controller_application import BRISK
from support.many_vms import database_of
from support.run_scene import FRAIL, SIZE, Scene, a_scene

HOUR_US = 3600 * 10**6
OTHER_VM_ID = "22222222-2222-4222-8222-222222222222"
LOST = resources_pb2.ATTEMPT_STATE_LOST
QUIET = replace(FRAIL, lease_ttl_seconds=3.0, reattach_grace_seconds=600.0)
"""Lost after three seconds, which a busy machine needs between two heartbeats; given up long after the test."""
HOW = {
    "vda": (resources_pb2.READ_METHOD_FULL, "This disk is new: the parent point lacks it."),
    "vdb": (resources_pb2.READ_METHOD_COMPARE, "Raw disks store no dirty bitmap."),
    "vdc": (resources_pb2.READ_METHOD_BITMAP, ""),
}


def reading(scene: Scene, attempt: agent_pb2.AttemptRef, seq: int = 1) -> None:
    disks = [
        resources_pb2.DiskProgress(
            disk=disk, size_bytes=SIZE, planned_bytes=SIZE, read_bytes=SIZE // 4, how=how, why=why
        )
        for disk, (how, why) in HOW.items()
    ]
    scene.alpha.beat(
        resources_pb2.AttemptProgress(
            attempt_id=attempt.attempt_id,
            seq=seq,
            state=resources_pb2.ATTEMPT_STATE_TRANSFERRING,
            phase="reading vda",
            rate_bytes_per_second=1_000_000,
            eta_seconds=75,
            bottleneck="network",
            disks=disks,
        )
    )


def explained(scene: Scene, run_id: str = "") -> limits_pb2.ExplainRunResponse:
    stub = limits_pb2_grpc.LimitServiceStub(scene.controller.channel)
    return stub.ExplainRun(limits_pb2.ExplainRunRequest(run=run_id or scene.run_id))


def shown(scene: Scene) -> Iterator[str]:
    """Every text that an operator reads of the run."""
    for words in (["run", "list"], ["run", "show", scene.run_id], ["run", "explain", scene.run_id], ["status"]):
        answer = scene.operator(*words)
        assert answer.code == 0, answer.err
        yield answer.out


def test_a_silent_host_is_named_wherever_its_run_is_shown(tmp_path: Path) -> None:
    with a_scene(tmp_path, QUIET) as scene:
        attempt = scene.accepted()
        reading(scene, attempt)
        stream = scene.controller.backups.WatchRuns(operator_pb2.WatchRunsRequest(runs=[scene.run_id]), timeout=60)
        every = scene.controller.backups.WatchRuns(operator_pb2.WatchRunsRequest(all=True), timeout=60)
        told = next(each.run for each in stream if each.run.attempts[-1].HasField("silent_since"))
        lost = next(each.run for each in every if each.run.attempts and each.run.attempts[-1].state == LOST)
        for run in (told, lost):
            stale = run.attempts[-1].progress
            assert (stale.phase, stale.rate_bytes_per_second, stale.eta_seconds, stale.bottleneck) == (
                "reading vda", 0, 0, "",
            )  # fmt: skip
        assert lost.attempts[-1].silent_since.ToSeconds() > 0

        (run,) = scene.operator("run", "list", "--json").json["runs"]
        (known,) = run["attempts"]
        assert known["silent_since"] < known["given_up_at"]
        for text in shown(scene):
            assert "alpha" in text and ("silent since" in text or "to be heard of again: nothing for" in text), text
            assert "bound by" not in text and "/s" not in text and "network to the store" not in text, text
        assert "last known: reading vda 25 %" in scene.operator("run", "list").out
        found = explained(scene)
        assert "its backup may still go on there, and is given up in" in found.blocked_on.sentence
        (advice,) = found.advice
        assert "agent" in advice and "network to the controller" in advice
        assert len(found.disks) == 3, "how they are read is no news"

        reading(scene, attempt, 2)  # it is back
        back = next(each.run for each in stream if not each.run.attempts[-1].HasField("silent_since"))
        assert back.attempts[-1].progress.bottleneck == "network"
        stream.cancel()  # type: ignore[no-untyped-call]
        every.cancel()  # type: ignore[no-untyped-call]


def last_heard(scene: Scene, ago_us: int, lease_us: int) -> None:
    """Of the host, before this controller began: its lease ran out while nobody was there."""
    seen_us = scene.controller.application._clock.started_us - ago_us
    (session,) = database_of(scene.controller).read_now(lambda transaction: transaction.fleet.sessions())
    renewed = [(session.agent_id, session.session_id)]
    database_of(scene.controller).write_now(
        lambda transaction: transaction.fleet.renew_sessions(renewed, seen_us + lease_us, seen_us)
    )


def told_silent(scene: Scene) -> list[bool]:
    """By each way to ask for a run that is under way."""
    stream = scene.controller.backups.WatchRuns(operator_pb2.WatchRunsRequest(runs=[scene.run_id]), timeout=60)
    every = scene.controller.backups.WatchRuns(operator_pb2.WatchRunsRequest(all=True), timeout=60)
    (listed,) = scene.controller.backups.ListRuns(operator_pb2.ListRunsRequest()).runs
    planned = operator_pb2.CancelRunsRequest(all_runs=True, plan_only=True)
    (cancelable,) = scene.controller.backups.CancelRuns(planned).runs
    watched, live = next(iter(stream)).run, next(each.run for each in every if each.run.run_id)
    stream.cancel()  # type: ignore[no-untyped-call]
    every.cancel()  # type: ignore[no-untyped-call]
    found = explained(scene)
    runs = [listed, cancelable, watched, live, scene.run(), found.run]
    return [run.attempts[-1].HasField("silent_since") for run in runs] + [found.HasField("blocked_on")]


def told_offline(scene: Scene) -> list[bool]:
    """By each way to ask for its host."""
    (listed,) = scene.controller.backups.ListHosts(operator_pb2.ListHostsRequest()).hosts
    status = scene.controller.backups.GetStatus(operator_pb2.GetStatusRequest())
    shown = scene.operator("host", "show", "alpha", "--json").json["host"]["online"]
    return [not listed.online, not status.hosts_online, not shown]


def test_a_controller_that_was_away_itself_calls_no_host_silent_at_once(tmp_path: Path) -> None:
    """Each has a whole lease from its start."""
    with a_scene(tmp_path, replace(BRISK, failover_grace_seconds=600.0)) as scene:
        scene.accepted()
        last_heard(scene, HOUR_US, lease_us=HOUR_US // 2)
        assert not any(told_silent(scene) + told_offline(scene))
        last_heard(scene, HOUR_US, lease_us=1)
        assert all(told_silent(scene) + told_offline(scene))


def test_an_attempt_that_nobody_takes_is_told_as_such(tmp_path: Path) -> None:
    """Who has it, for how long, and what comes of that; and afterwards what came of it."""
    with a_scene(tmp_path, replace(BRISK, assigned_seconds=6.0)) as scene:
        scene.alpha.next_assignment()
        sentence = explained(scene).blocked_on.sentence
        assert "host alpha to begin the backup: given to it " in sentence and "given out anew in " in sentence
        scene.watch(lambda run: run.attempts[0].state == resources_pb2.ATTEMPT_STATE_EXPIRED)
        assert "expired     the host did not take it in time" in scene.operator("run", "show", scene.run_id).out


def test_who_waits_for_a_silent_host_s_place_is_promised_no_end(tmp_path: Path) -> None:
    """Nobody knows any more when that run will be done."""
    with a_scene(tmp_path, QUIET) as scene:
        assert scene.operator("limit", "set", "global", "--transferring", "1").code == 0
        attempt = scene.accepted()
        beta = enrolled(scene.controller, "beta")
        beta.inventory({"vda": SIZE}, vm_id=OTHER_VM_ID, vm_name="db-2")
        other = scene.controller.start_backup("db-2").run_id
        reading(scene, attempt)
        heard = explained(scene, other)
        assert [each.eta_seconds for each in heard.holders] == [75] and "done in about" in heard.advice[0]
        scene.watch(lambda run: run.attempts[0].state == LOST)
        beta.beat()
        silent = explained(scene, other)
        assert [(each.host_name, each.eta_seconds) for each in silent.holders] == [("alpha", 0)]
        assert not any("done in about" in advice for advice in silent.advice)


@pytest.mark.parametrize("over", [False, True], ids=["under way", "over"])
def test_the_way_and_the_reason_of_each_disk_are_told(tmp_path: Path, over: bool) -> None:
    with a_scene(tmp_path, BRISK) as scene:
        attempt = scene.accepted()
        reading(scene, attempt)
        if over:
            scene.stop(attempt)
            scene.watch(lambda run: bool(run.attempts[0].failure.reason))
            scene.cancel()
            scene.canceled()
        found = explained(scene)
        assert list(found.disks) == [
            "vda: whole (This disk is new: the parent point lacks it.)",
            "vdb: whole, compared with the parent point (Raw disks store no dirty bitmap.)",
            "vdc: only what changed",
        ]
        text = scene.operator("run", "explain", scene.run_id).out
        assert all(sentence in text for sentence in found.disks)
        advice = [
            "The network to the store is what is waited for.",
            "vda, vdb are read whole, for the reason above.",
        ]
        assert list(found.advice) == ([] if over else advice)
        assert not found.HasField("blocked_on")


def test_a_vm_that_was_never_protected_is_first_in_line(tmp_path: Path) -> None:
    """Infinitely late, which no number of JSON says."""
    with a_scene(tmp_path) as scene:
        attempt = scene.alpha.next_assignment().attempt
        assert scene.operator("host", "cordon", "alpha").code == 0
        scene.stop(attempt)
        scene.watch(lambda run: run.state == resources_pb2.RUN_STATE_READY)
        deadline = time.monotonic() + 20
        while "cordoned" not in explained(scene).blocked_on.sentence:  # nobody is in line in the pause after an attempt
            assert time.monotonic() < deadline
            time.sleep(0.1)
        never = scene.operator("run", "explain", scene.run_id, "--json").json
        assert (never["lateness"], never["no_point_yet"]) == (None, True)
        assert "lateness     no point yet: first in line" in scene.operator("run", "explain", scene.run_id).out


def test_a_vm_that_has_a_point_is_so_many_times_late(tmp_path: Path) -> None:
    with a_scene(tmp_path) as scene:
        scene.alpha.instant_us = SystemClock().now_us() - 36 * HOUR_US
        request = scene.written(scene.alpha.next_assignment().attempt)
        scene.alpha.stub.CompleteAttempt(request)
        scene.watch(lambda run: run.state == resources_pb2.RUN_STATE_SUCCEEDED)
        assert scene.operator("host", "cordon", "alpha").code == 0
        late = explained(scene, scene.controller.start_backup("db-1").run_id)
        assert 1.5 <= late.lateness < 1.6 and not late.no_point_yet
