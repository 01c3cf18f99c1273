"""The contract of the store's role for policies: revisions, firings, what is due, holds; on every engine."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from seawall.controller.database.database import Database
from seawall.controller.errors import Aborted, ControllerError
from seawall.controller.maintenance.verify_schedule import note_tried
from seawall.controller.records.catalogue import Point, PointState, PointTotals
from seawall.controller.records.fleet import Vm
from seawall.controller.records.maintenance import Job, JobKind, JobState
from seawall.controller.records.policies import DueFiring, Hold, Policy
from seawall.controller.records.runs import WINDOW_ENDED, AttemptState, Run, RunState, RunWarning
from seawall.controller.store.transaction import Store, Transaction
from support.controller_databases import ENGINES, open_engine
from support.controller_records import HOUR, NOW, a_point, a_repository, a_run, a_vm, an_execution
from support.enrolled_hosts import add_hosts
from support.policies import a_policy, add_policy

POLICY = a_policy()
OTHER = a_policy(name="weekly", policy_id="policy-2")


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """With host alpha, a repository and two policies."""
    with open_engine(request.param, request, tmp_path) as database:
        add_hosts(database, "alpha")
        database.write_now(_first)
        yield database


def _first(transaction: Transaction) -> None:
    transaction.repositories.add_repository(a_repository())
    for policy in (POLICY, OTHER):
        transaction.policies.add_policy(policy)


def fired_run(number: int, vm_id: str = "vm-1", nominal_us: int = NOW, **fields: object) -> Run:
    return a_run(number, vm_id=vm_id, policy_id=POLICY.id, nominal_us=nominal_us, **fields)


def add_runs(store: Store, *runs: Run) -> None:
    for run in runs:
        store.write_now(lambda transaction, each=run: transaction.runs.add_run(each))  # type: ignore[misc]


def add_point(store: Store, number: int, vm_id: str = "vm-1", policy_id: str = POLICY.id, **fields: object) -> Point:
    run = a_run(number, vm_id=vm_id, state=RunState.SUCCEEDED)
    attempt = replace(an_execution().attempt, id=f"attempt-{number}", run_id=run.id, state=AttemptState.SUCCEEDED)
    known = {"state": PointState.AVAILABLE, "intent": None, "policy_id": policy_id, "published_us": NOW + number}
    point = a_point(run, attempt.id, **known | fields)

    def closure(transaction: Transaction) -> None:
        transaction.runs.add_run(run)
        transaction.runs.add_attempt(attempt)
        transaction.points.add_point(point)

    store.write_now(closure)
    return point


def test_a_policy_is_read_as_it_was_added(store: Store) -> None:
    assert store.read_now(lambda transaction: transaction.policies.policies()) == [POLICY, OTHER]
    assert store.read_now(lambda transaction: transaction.policies.policy(POLICY.id)) == POLICY
    assert store.read_now(lambda transaction: transaction.policies.policy_named("weekly")) == OTHER
    assert store.read_now(lambda transaction: transaction.policies.policy_named("nobody")) is None


def test_policies_come_in_pages_by_name(store: Store) -> None:
    """By the bytes of the names, whatever the database's language; a deleted one takes no place in a page."""
    gone = add_policy(store, a_policy(policy_id="policy-3", name="omega", deleted_us=NOW))
    owl = add_policy(store, a_policy(policy_id="policy-4", name="night-owl"))

    def page(after: str, limit: int, *, deleted: bool = False) -> Sequence[Policy]:
        return store.read_now(
            lambda transaction: transaction.policies.policies(deleted=deleted, after=after, limit=limit)
        )

    assert page("", 2) == [owl, POLICY]
    assert page("night-owl", 2) == [POLICY, OTHER]
    assert page("nightly", 1, deleted=True) == [gone]
    assert page("weekly", 2) == []


def test_every_revision_is_kept(store: Store) -> None:
    changed = a_policy("retention: {last: 3}", revision=2, changed_us=NOW + 1)
    store.write_now(lambda transaction: transaction.policies.save_policy(POLICY, changed))
    assert store.read_now(lambda transaction: transaction.policies.policy(POLICY.id)) == changed
    revisions = store.read_now(lambda transaction: [transaction.policies.revision(POLICY.id, no) for no in (1, 2, 3)])
    assert revisions == [POLICY.spec, changed.spec, None]


def test_a_change_of_what_changed_meanwhile_is_refused(store: Store) -> None:
    store.write_now(lambda transaction: transaction.policies.save_policy(POLICY, replace(POLICY, revision=2)))

    def late() -> None:
        store.write_now(lambda transaction: transaction.policies.save_policy(POLICY, replace(POLICY, revision=2)))

    with pytest.raises(Aborted) as caught:
        late()
    assert caught.value.reason == "CHANGED"


def test_a_deleted_policy_keeps_its_name(store: Store) -> None:
    gone = replace(POLICY, revision=2, deleted_us=NOW)
    store.write_now(lambda transaction: transaction.policies.save_policy(POLICY, gone))
    assert store.read_now(lambda transaction: transaction.policies.policies()) == [OTHER]
    assert store.read_now(lambda transaction: transaction.policies.policies(deleted=True)) == [gone, OTHER]
    assert store.read_now(lambda transaction: transaction.policies.policy_named("nightly")) == gone


def test_a_policy_fires_once_for_a_vm_and_a_time(store: Store) -> None:
    add_runs(store, fired_run(1, state=RunState.SUCCEEDED))
    with pytest.raises((IntegrityError, ControllerError)):
        add_runs(store, fired_run(2, state=RunState.MISSED))
    later, other = fired_run(2, nominal_us=NOW + HOUR, state=RunState.MISSED), fired_run(3, "vm-2")
    by_hand = (a_run(4, state=RunState.CANCELED), a_run(5, state=RunState.CANCELED))
    add_runs(store, later, other, *by_hand)
    asked = ["vm-1", "vm-2", "vm-3"]
    assert store.read_now(lambda transaction: transaction.policies.fired(POLICY.id, asked, NOW)) == {"vm-1", "vm-2"}
    assert store.read_now(lambda transaction: transaction.policies.fired(POLICY.id, asked[1:], NOW)) == {"vm-2"}
    assert store.read_now(lambda transaction: transaction.runs.run(later.id)) == later


def test_the_open_runs_that_a_closed_window_may_change(store: Store) -> None:
    over = fired_run(1, "vm-1", state=RunState.MISSED)
    early = fired_run(2, "vm-2", not_before_us=NOW + 1, nominal_us=NOW)
    later = fired_run(3, "vm-3", not_before_us=NOW + HOUR, nominal_us=NOW)
    active = fired_run(4, "vm-4", state=RunState.ACTIVE, not_before_us=NOW + HOUR)
    stopping = fired_run(5, "vm-5", state=RunState.ACTIVE, cancel_us=NOW)
    add_runs(store, over, early, later, active, stopping, a_run(6, vm_id="vm-6"))

    def found(*, begin_us: int, nominal_us: int, active: bool) -> list[str]:
        def closure(transaction: Transaction) -> Sequence[str]:
            return transaction.policies.open_runs(POLICY.id, begin_us=begin_us, nominal_us=nominal_us, active=active)

        return list(store.read_now(closure))

    assert found(begin_us=NOW, nominal_us=NOW, active=False) == []
    assert found(begin_us=NOW + HOUR, nominal_us=NOW, active=False) == [early.id]
    assert found(begin_us=NOW, nominal_us=NOW + 1, active=False) == [early.id, later.id]
    assert found(begin_us=NOW + 2 * HOUR, nominal_us=0, active=True) == [early.id, later.id, active.id]


def test_who_has_a_point_since_a_time(store: Store) -> None:
    """Of the policy, or of nobody knows whom: a bucket's point, whose run had no time at all. What somebody ordered is nobody's firing."""
    add_point(store, 1, "vm-1", instant_us=NOW, published_us=NOW)
    add_point(store, 2, "vm-2", instant_us=NOW - 1, published_us=NOW)
    add_point(store, 3, "vm-3", instant_us=NOW + HOUR, published_us=NOW - 1)  # its host's clock is wrong
    add_point(store, 4, "vm-4", OTHER.id)
    add_point(store, 5, "vm-5", "")
    add_point(store, 6, "vm-6", state=PointState.FAILED)
    adopted, ordered = (
        a_run(7, vm_id="vm-7", state=RunState.SUCCEEDED),
        a_run(5, vm_id="vm-5", state=RunState.SUCCEEDED),
    )
    assert ordered.deadline_us > ordered.created_us
    add_point(store, 7, "vm-7", "")
    before = store.read_now(lambda transaction: transaction.runs.run(adopted.id))
    assert before is not None
    after = replace(before, deadline_us=before.created_us)
    store.write_now(lambda transaction: transaction.runs.save_run(before, after))

    def since(repository_id: str) -> frozenset[str]:
        return store.read_now(lambda transaction: transaction.policies.backed_up_since(POLICY.id, repository_id, NOW))

    assert since("repository") == {"vm-1", "vm-7"}
    assert since("elsewhere") == frozenset()


def test_which_run_is_in_the_way_of_a_firing(store: Store) -> None:
    """The policy's own, whatever it does; of others what is under way, not what waits."""
    active = RunState.ACTIVE
    add_runs(store, fired_run(1), a_run(2, vm_id="vm-1", state=active), a_run(3, vm_id="vm-2"))
    add_runs(store, a_run(4, vm_id="vm-3", state=active), fired_run(5, "vm-4", state=RunState.SUCCEEDED))
    vm_ids = ["vm-1", "vm-2", "vm-3", "vm-4"]

    def found(policy_id: str, repository_id: str = "repository") -> dict[str, tuple[str, str]]:
        return store.read_now(lambda transaction: transaction.policies.in_the_way(policy_id, vm_ids, repository_id))

    assert found(POLICY.id) == {"vm-1": (a_run(1).id, POLICY.id), "vm-3": (a_run(4).id, "")}
    assert found(OTHER.id) == {"vm-1": (a_run(2).id, ""), "vm-3": (a_run(4).id, "")}
    assert found(POLICY.id, "elsewhere") == {}


def test_backups_of_a_vm_wait_side_by_side(store: Store) -> None:
    """Of each policy one. The database keeps to it, whoever tries. That one alone is under way, whoever begins one looks after."""
    waiting = [fired_run(1), a_run(2, vm_id="vm-1"), replace(fired_run(3, nominal_us=NOW + 1), policy_id=OTHER.id)]
    add_runs(store, *waiting)
    for again in (fired_run(4, nominal_us=NOW + 1), a_run(5, vm_id="vm-1")):
        with pytest.raises((IntegrityError, ControllerError)):
            add_runs(store, again)

    def save(before: Run, **fields: object) -> Run:
        after = replace(before, **fields)  # type: ignore[arg-type]
        return store.write_now(lambda transaction: transaction.runs.save_run(before, after))

    def under_way(*vm_ids: str) -> frozenset[tuple[str, str]]:
        return store.read_now(lambda transaction: transaction.runs.under_way(vm_ids))

    assert under_way("vm-1") == frozenset()
    begun = save(waiting[1], state=RunState.ACTIVE)
    assert under_way("vm-1", "vm-2") == {("vm-1", "repository")} and under_way("vm-2") == frozenset()
    assert store.read_now(lambda transaction: transaction.runs.open_backup("vm-1", "repository")) == begun
    save(begun, state=RunState.SUCCEEDED)
    later = save(waiting[0], not_before_us=NOW + HOUR)
    assert store.read_now(lambda transaction: transaction.runs.open_backup("vm-1", "repository")) == waiting[2]
    save(later, state=RunState.ACTIVE)


def test_a_skip_counts_from_the_run_on_that_it_waited_for(store: Store) -> None:
    skipped = RunState.SKIPPED
    add_runs(store, fired_run(1, nominal_us=1, state=skipped), fired_run(2, nominal_us=2))
    add_runs(store, fired_run(3, "vm-2", nominal_us=1), fired_run(4, "vm-2", nominal_us=2, state=skipped))
    runs = [a_run(2).id, a_run(3).id]

    def since(transaction: Transaction) -> frozenset[str]:
        return transaction.policies.skipped_since(POLICY.id, ["vm-1", "vm-2"], runs)

    assert store.read_now(since) == {"vm-2"}


def test_what_is_due_is_one_for_each_vm(store: Store) -> None:
    firings = [
        DueFiring(POLICY.id, "vm-1", NOW),
        DueFiring(POLICY.id, "vm-1", NOW + 2),
        DueFiring(OTHER.id, "vm-1", NOW + 1),
    ]
    for firing in firings:
        store.write_now(lambda transaction, each=firing: transaction.policies.put_due(each))  # type: ignore[misc]
    assert store.read_now(lambda transaction: transaction.policies.due()) == [firings[2], firings[1]]
    assert store.read_now(lambda transaction: transaction.policies.due(POLICY.id)) == [firings[1]]
    store.write_now(lambda transaction: transaction.policies.drop_due(POLICY.id, "vm-2"))
    store.write_now(lambda transaction: transaction.policies.drop_due(OTHER.id))
    assert store.read_now(lambda transaction: transaction.policies.due()) == [firings[1]]


def test_how_long_the_last_good_backup_took(store: Store) -> None:
    done, bad = RunState.SUCCEEDED_WITH_WARNINGS, RunState.FAILED
    add_runs(
        store, fired_run(1, state=done, ended_us=NOW + 9), fired_run(2, nominal_us=2, state=done, ended_us=NOW + 5)
    )
    add_runs(
        store, fired_run(3, nominal_us=3, state=bad, ended_us=NOW + 1), fired_run(4, "vm-2", state=bad, ended_us=NOW)
    )
    waited = fired_run(5, "vm-3", state=done, ended_us=NOW + HOUR, current_attempt=an_execution().attempt.id)
    attempt = replace(an_execution().attempt, run_id=waited.id, created_us=NOW + HOUR - 7)
    add_runs(store, waited)
    store.write_now(lambda transaction: transaction.runs.add_attempt(attempt))
    took = store.read_now(lambda transaction: transaction.policies.durations_us(["vm-1", "vm-2", "vm-3"], 0))
    assert took == {"vm-1": 5, "vm-3": 7}, "it waited for nearly an hour, and took a moment"


def test_whose_last_backups_a_window_ended(store: Store) -> None:
    """Not whom an operator stopped, nor who has succeeded since, nor what was long ago."""
    told: dict[str, Any] = {"state": RunState.CANCELED, "ended_us": NOW, "warnings": (RunWarning(WINDOW_ENDED, "w"),)}
    add_runs(store, fired_run(1, "vm-1", **told), fired_run(2, "vm-2", **told), fired_run(5, "vm-5", **told))
    add_runs(store, fired_run(3, "vm-2", NOW + 1, state=RunState.SUCCEEDED, ended_us=NOW + 1))
    add_runs(store, fired_run(4, "vm-3", **told | {"warnings": (RunWarning("OTHER", "w"),)}))
    add_runs(store, fired_run(6, "vm-5", NOW + 1, state=RunState.FAILED, ended_us=NOW + 1))
    add_runs(store, fired_run(7, "vm-6", **told | {"ended_us": NOW - 1}))
    assert store.read_now(lambda transaction: transaction.policies.cut_off(POLICY.id, NOW)) == {"vm-1", "vm-5"}
    assert store.read_now(lambda transaction: transaction.policies.cut_off(OTHER.id, NOW)) == frozenset()


def test_points_of_a_policy(store: Store) -> None:
    mine = [
        add_point(store, 1),
        add_point(store, 2, instant_us=NOW + 2),
        add_point(store, 3, "vm-2", instant_us=NOW + 3),
    ]
    add_point(store, 4, "vm-3", policy_id="")
    add_point(store, 5, "vm-3", state=PointState.DELETING)

    def backed_up(since_us: int) -> list[str]:
        return list(store.read_now(lambda transaction: transaction.policies.backed_up(POLICY.id, since_us)))

    assert backed_up(0) == ["vm-1", "vm-2"]
    assert backed_up(NOW + 3) == ["vm-2"]
    assert store.read_now(lambda transaction: transaction.policies.crowded(POLICY.id)) == ["vm-1"]
    assert store.read_now(lambda transaction: transaction.policies.point_ids(POLICY.id)) == [each.id for each in mine]
    assert store.read_now(lambda transaction: transaction.policies.count_points(POLICY.id)) == len(mine)
    assert store.read_now(lambda transaction: transaction.policies.newest_us(POLICY.id)) == {
        "vm-1": NOW + 2,
        "vm-2": NOW + 3,
    }
    listed = store.read_now(lambda transaction: transaction.points.points(policy_id=POLICY.id))
    assert [point.id for point in listed] == [each.id for each in reversed(mine)]
    assert store.read_now(lambda transaction: transaction.points.point(mine[0].id)) == mine[0]


def test_totals_count_each_vm_once_and_only_points_that_are_available(store: Store) -> None:
    """Of VM 1 the newest is another policy's; of VM 2 the older is of nobody."""
    proved: dict[str, Any] = {"verified_us": NOW}
    add_point(store, 1, instant_us=NOW - 5, **proved)
    add_point(store, 2, policy_id=OTHER.id, instant_us=NOW - 3, **proved)
    add_point(store, 3, "vm-2", policy_id="", instant_us=NOW - 9, **proved)
    lost = add_point(store, 4, "vm-2", instant_us=NOW - 4, seq=4, damaged="{}", **proved)
    refuted = add_point(store, 5, "vm-2", instant_us=NOW - 8, seq=5, verified_us=-NOW)
    new = add_point(store, 6, "vm-2", instant_us=NOW - 7, seq=6)
    for state in (PointState.PUBLISHING, PointState.DELETING, PointState.DELETED, PointState.FAILED):
        add_point(store, 10 + list(PointState).index(state), "vm-3", state=state, seq=7, **proved)

    def asked(transaction: Transaction) -> tuple[object, ...]:
        points = transaction.points
        return (
            points.totals(),
            transaction.repositories.totals("repository").points,
            [point.id for point in points.flawed(POLICY.id)],
            [point.id for point in points.unproven("repository", 9)],
            [point.id for point in points.unproven("repository", 9, again=True)],
            [point.seq for point in points.roots("repository", since_seq=5)],
            [point.seq for point in points.roots("repository", after=new.id, limit=1, since_seq=5)],
            points.roots("other", since_seq=5),
        )

    assert store.read_now(asked) == (
        PointTotals(6, 6 << 30, 2, NOW - 4, 3),
        6,
        [lost.id, refuted.id],
        [new.id],
        [refuted.id, new.id],
        [6, 7, 7],
        [7],
        [],
    )


def test_a_host_whose_clock_was_ahead_makes_no_point_younger_than_its_publication(store: Store) -> None:
    year = 365 * 24 * HOUR
    add_point(store, 1, instant_us=NOW + year)

    def said(transaction: Transaction) -> list[object]:
        points, policy_id = transaction.points, POLICY.id
        return [
            transaction.policies.newest_us(policy_id),
            points.newest_since(0)[policy_id],
            points.newest_of_policy(policy_id, ["vm-1"]),
            {"vm-1": points.totals().oldest_newest_us},
        ]

    assert store.read_now(said) == [{"vm-1": NOW + 1}] * 4


def test_the_newest_points_of_each_policy_and_what_is_left_of_them(store: Store) -> None:
    older, newer = add_point(store, 1, instant_us=NOW - 9), add_point(store, 2, instant_us=NOW - 5)
    add_point(store, 3, policy_id=OTHER.id, instant_us=NOW - 3)
    ordered = add_point(store, 4, "vm-2", policy_id="", instant_us=NOW - 2)

    def since(published_us: int) -> object:
        return store.read_now(lambda transaction: transaction.points.newest_since(published_us))

    def given_up(deleted_us: int) -> object:
        return store.read_now(lambda transaction: transaction.points.given_up_since(deleted_us))

    assert since(0) == {POLICY.id: {"vm-1": NOW - 5}, OTHER.id: {"vm-1": NOW - 3}, "": {"vm-2": NOW - 2}}
    assert since(NOW + 4) == {"": {"vm-2": NOW - 2}}
    assert given_up(0) == {}
    store.write_now(lambda transaction: transaction.points.begin_delete(newer.id, b"t", NOW + 10))
    store.write_now(lambda transaction: transaction.points.begin_delete(ordered.id, b"t", NOW + 11))
    assert given_up(NOW + 10) == {POLICY.id: {"vm-1": NOW - 5}, "": {"vm-2": NOW - 2}}
    assert given_up(NOW + 11) == {"": {"vm-2": NOW - 2}}
    left = store.read_now(lambda transaction: transaction.points.newest_of_policy(POLICY.id, ["vm-1", "vm-2"]))
    assert left == {"vm-1": older.instant_us}


def test_which_points_of_a_policy_were_not_read_back_lately(store: Store) -> None:
    due: dict[str, Any] = {"verified_us": NOW, "read_us": NOW - HOUR}
    first, second, third = (add_point(store, number, **due) for number in (1, 2, 3))
    fresh = add_point(store, 4, verified_us=NOW, read_us=NOW)
    unproven, flawed = add_point(store, 5), add_point(store, 6, verified_us=-NOW, read_us=NOW)
    add_point(store, 7, policy_id=OTHER.id, **due)
    add_point(store, 8, state=PointState.DELETED, **due)
    lost = add_point(store, 9, damaged="{}", **due)

    def unread(limit: int = 9, tried_before_us: int = NOW + 1) -> list[str]:
        found = store.read_now(
            lambda transaction: transaction.points.unread(POLICY.id, "repository", NOW, tried_before_us, limit)
        )
        return [point.id for point in found]

    assert unread() == [first.id, second.id, third.id, lost.id]
    store.write_now(lambda transaction: transaction.points.mark_tried([first.id, lost.id], NOW))
    assert unread() == [second.id, third.id, first.id, lost.id] and unread(1) == [second.id]
    assert unread(tried_before_us=NOW) == [second.id, third.id]
    store.write_now(lambda transaction: transaction.points.mark_checked(second.id, NOW + 1, NOW))
    assert unread() == [third.id, first.id, lost.id]
    assert not store.read_now(lambda transaction: transaction.points.unread(POLICY.id, "another", NOW, NOW, 9))
    kept = store.read_now(lambda transaction: transaction.points.point(second.id))
    assert kept is not None and (kept.checked_us, kept.read_us, kept.tried_us) == (NOW + 1, NOW, 0)

    def late(before_us: int) -> int:
        return store.read_now(lambda transaction: transaction.points.count_unread(POLICY.id, before_us))

    assert (late(NOW), late(NOW + HOUR)) == (0, 7), "what was published since is not late"
    assert {fresh.id, unproven.id}.isdisjoint(unread())
    found = store.read_now(lambda transaction: transaction.points.flawed(POLICY.id))
    assert {point.id for point in found} == {flawed.id, lost.id}


def test_the_point_that_waits_longest_comes_first_and_then_those_that_share_its_data(store: Store) -> None:
    due: dict[str, Any] = {"verified_us": NOW}
    add_point(store, 1, vm_id="vm-2", read_us=NOW - 2, **due)
    oldest = add_point(store, 2, read_us=NOW - 3, **due)
    newest = add_point(store, 3, read_us=NOW - 1, **due)
    found = store.read_now(lambda transaction: transaction.points.unread(POLICY.id, "repository", NOW, NOW, 2))
    assert [point.id for point in found] == [oldest.id, newest.id]


def test_points_of_a_check_with_findings_or_without_any_work_come_later(store: Store) -> None:
    """After one that found nothing, the next goes on with the same: a large point takes several."""
    points = [add_point(store, number, verified_us=NOW, read_us=NOW - HOUR) for number in (1, 2)]
    request = {"because": "policy", "points": [[point.tenant, point.vm_id, point.id] for point in points[:1]]}

    def left(state: JobState, because: str = "policy", **result: int) -> list[str]:
        text = (
            json.dumps({"findings_total": 0, "packs": 0, "points": 0} | result) if state is JobState.SUCCEEDED else ""
        )
        body = json.dumps(request | {"because": because})
        job = Job("job", "repository", JobKind.CHECK, state, body, NOW, result=text, ended_us=NOW)

        def closure(transaction: Transaction) -> list[str]:
            transaction.points.mark_tried([point.id for point in points], 0)
            note_tried(transaction, job)
            return [point.id for point in transaction.points.unread(POLICY.id, "repository", NOW, NOW, 9)]

        return store.write_now(closure)

    both, second = [point.id for point in points], [points[1].id]
    assert left(JobState.SUCCEEDED, packs=3) == left(JobState.SUCCEEDED, points=1) == both
    assert left(JobState.SUCCEEDED) == left(JobState.SUCCEEDED, packs=3, findings_total=1) == second
    assert left(JobState.FAILED) == left(JobState.CANCELED) == second
    assert left(JobState.FAILED, because="new") == both


def test_a_hold_stays_until_it_is_released_or_over(store: Store) -> None:
    points = [add_point(store, number).id for number in (1, 2, 3)]
    holds = [Hold(points[0], "old", NOW), Hold(points[0], "new", NOW, NOW + 5), Hold(points[1], "for ever", NOW)]
    for hold in holds:
        store.write_now(lambda transaction, each=hold: transaction.policies.hold(each))  # type: ignore[misc]

    def held() -> dict[str, Hold]:
        return store.read_now(lambda transaction: transaction.policies.holds_of(points))

    assert held() == {points[0]: holds[1], points[1]: holds[2]}
    assert store.write_now(lambda transaction: transaction.policies.drop_holds(NOW + 4)) == 0
    assert store.write_now(lambda transaction: transaction.policies.drop_holds(NOW + 5)) == 1
    assert held() == {points[1]: holds[2]}
    assert store.write_now(lambda transaction: transaction.policies.release(points[1]))
    assert not store.write_now(lambda transaction: transaction.policies.release(points[1]))
    assert held() == {}


def test_tags_of_a_vm_are_those_of_its_last_inventory(store: Store) -> None:
    def reported(transaction: Transaction, revision: int, vm: Vm) -> None:
        transaction.fleet.replace_inventory("alpha", revision, [vm])

    for revision, tags in enumerate((("gold", "eu"), ()), start=1):
        vm = a_vm(tags=tags)
        store.write_now(partial(reported, revision=revision, vm=vm))
        assert store.read_now(lambda transaction: transaction.fleet.vm("vm-1")) == vm
