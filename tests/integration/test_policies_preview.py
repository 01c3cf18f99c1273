"""A preview of more than one answer holds: everything is counted, and what is listed can be chosen."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from seawall.api.v1 import policy_pb2, resources_pb2
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.errors import InvalidArgument, NotFound
from seawall.controller.hooks.calling import Caller
from seawall.controller.hooks.directory import HookDirectory
from seawall.controller.policies.render import document_of
from seawall.controller.records.catalogue import PointState
from seawall.controller.records.limits import Limit, Measure, Scope
from seawall.controller.records.policies import Window
from seawall.controller.records.runs import AttemptState, RunState
from seawall.controller.scheduler.executions import Executions
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.services import convert_forgetting, convert_policies
from seawall.controller.services.blocking import Blocking
from seawall.controller.services.once import Once
from seawall.controller.services.policy_service import PolicyServicer
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings
from support.controller_clock import ManualClock
from support.controller_records import HOUR, NOW, a_point, a_run, a_vm, an_execution
from support.policies import a_policy, add_policy, fleet_store

VMS = tuple(f"vm-{number}" for number in range(1, 7))
POINTS = 4
POLICY = a_policy("retention: {last: 1}")
GOING = len(VMS) * (POINTS - 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteDatabase]:
    """Six VMs with four points each, of which one stays."""
    with fleet_store(tmp_path, VMS) as opened:
        add_policy(opened, POLICY)
        opened.write_now(_fill)
        yield opened


def _fill(transaction: Transaction) -> None:
    for number in range(len(VMS) * POINTS):
        vm_id = VMS[number % len(VMS)]
        run = a_run(number, state=RunState.SUCCEEDED, vm_id=vm_id, vm_name=vm_id, ended_us=NOW + HOUR)
        made = replace(
            an_execution().attempt,
            id=f"attempt-{number}",
            run_id=run.id,
            state=AttemptState.SUCCEEDED,
            ended_us=NOW + HOUR,
        )
        transaction.runs.add_run(run)
        transaction.runs.add_attempt(made)
        known = {"state": PointState.AVAILABLE, "intent": None, "policy_id": POLICY.id, "published_us": NOW}
        point = a_point(run, made.id, seq=number, instant_us=NOW + number * HOUR, **known)
        transaction.points.add_point(point)


def _two_more(transaction: Transaction) -> None:
    vms = [a_vm(vm_id, name=vm_id) for vm_id in (*VMS, "vm-7", "vm-8")]
    transaction.fleet.replace_inventory("alpha", 2, vms)


async def preview(store: SqliteDatabase, *vms: str, document: str = "") -> policy_pb2.PreviewPolicyResponse:
    clock = ManualClock(NOW + 400 * HOUR)
    hooks = Caller(HookDirectory(Path("/nonexistent")), clock)
    request = policy_pb2.PreviewPolicyRequest(
        firings=8, policy="" if document else POLICY.name, document=document, points=True, vms=vms
    )
    with closing(Blocking(1)) as blocking:
        servicer = PolicyServicer(Executions(store, Wakes()), Once(store, clock, Timings()), blocking, hooks, clock)
        return await servicer.PreviewPolicy(request, cast(Any, None))


def going(answer: policy_pb2.PreviewPolicyResponse) -> list[str]:
    return [each.point.vm_id for each in answer.verdicts if each.verdict == resources_pb2.VERDICT_KIND_DELETE]


async def test_of_more_than_fits_all_is_counted_and_the_rest_can_be_asked_for(
    store: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert_forgetting, "LARGEST_BYTES", 2000)
    monkeypatch.setattr(convert_policies, "MOST_VMS", 4)
    answer = await preview(store)
    assert [vm.name for vm in answer.vms] == list(VMS[:4])
    assert (answer.vms_total, answer.vms_asked) == (6, 6)
    assert (answer.points_total, answer.points_to_delete) == (len(VMS) * POINTS, GOING)
    assert 0 < len(answer.verdicts) == len(going(answer)) < GOING
    assert answer.deletions_left_off == GOING - len(answer.verdicts)
    assert answer.verdicts_left_off == len(VMS) * POINTS - len(answer.verdicts)

    one = await preview(store, "vm-6")
    assert [vm.name for vm in one.vms] == ["vm-6"]
    assert (one.vms_total, one.vms_asked, one.read_bytes) == (6, 1, answer.read_bytes)
    assert {each.point.vm_id for each in one.verdicts} == {"vm-6"} and going(one) == ["vm-6"] * (POINTS - 1)
    assert (one.points_to_delete, one.verdicts_left_off, one.deletions_left_off) == (GOING, 0, 0)


async def test_what_one_answer_holds_is_all_there(store: SqliteDatabase) -> None:
    answer = await preview(store)
    assert len(answer.vms) == 6 and len(answer.verdicts) == len(VMS) * POINTS and len(going(answer)) == GOING
    assert (answer.verdicts_left_off, answer.deletions_left_off, answer.zone) == (0, 0, "UTC")


async def test_the_sums_say_of_how_many_vms_they_are(store: SqliteDatabase) -> None:
    store.write_now(_two_more)
    answer = await preview(store)
    assert (answer.vms_total, answer.vms_measured, answer.vms_timed) == (8, 6, 6)
    fresh = [each for each in answer.vms if not each.measured]
    assert [each.name for each in fresh] == ["vm-7", "vm-8"]
    assert answer.first_read_bytes == sum(each.read_bytes for each in fresh) > 0
    # Six of an hour each on one host, which has three places and keeps one of them for restores.
    assert (answer.seconds, answer.estimated_seconds) == (6 * 3600, 3 * 3600)
    store.write_now(lambda transaction: transaction.limits.set_limit(Limit(Scope.SITE, "", Measure.TRANSFERRING, 1)))
    assert (await preview(store)).estimated_seconds == 3 * 3600, "the host is in no site"
    store.write_now(lambda transaction: transaction.fleet.set_site("alpha", "north"))
    assert (await preview(store)).estimated_seconds == 6 * 3600


async def test_a_vm_starts_with_the_next_firing_that_begins_anything(store: SqliteDatabase) -> None:
    spec = replace(POLICY.spec, windows=(Window((5,), 180, 300),))
    answer = await preview(store, document=document_of(spec))
    begins = next(each for each in answer.firings if not each.begins_nothing)
    assert answer.firings[0].begins_nothing.startswith("missed: No window of policy nightly opens")
    assert {each.next_start_at.seconds for each in answer.vms} == {begins.first_start_at.seconds}


async def test_only_what_is_not_applied_says_that_its_starts_change(store: SqliteDatabase) -> None:
    applied, new = (
        document_of(replace(POLICY.spec, spread_seconds=600)),
        document_of(replace(POLICY.spec, spread_seconds=600, name="other")),
    )
    once = document_of(replace(POLICY.spec, name="other"))
    assert [(await preview(store, document=each)).places_change for each in (applied, new, once)] == [
        False,
        True,
        False,
    ]


async def test_vms_that_are_not_there_and_too_many_of_them(store: SqliteDatabase) -> None:
    with pytest.raises(NotFound) as unknown:
        await preview(store, "vm-1", "nobody")
    assert unknown.value.reason == "VM_UNKNOWN"
    with pytest.raises(InvalidArgument) as many:
        await preview(store, *(f"vm-{number}" for number in range(1001)))
    assert many.value.reason == "TOO_MANY_VMS"
