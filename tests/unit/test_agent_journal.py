"""The journal: what it says after each step is what a sweep after a crash at that step needs."""

from pathlib import Path

import pytest

from seawall.agent.control.messages import AttemptRef
from seawall.agent.journal import Journal
from seawall.repository.clock import SystemClock

REF = AttemptRef("a", 2, 3)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


def reopened(state_dir: Path) -> Journal:
    return Journal(state_dir, SystemClock())


def test_an_attempt_is_open_from_before_its_worker_to_its_end(state_dir: Path) -> None:
    journal = reopened(state_dir)
    journal.begin_attempt(REF, "run", "vm", "backup")
    journal.begin_attempt(REF, "run", "vm", "backup")
    journal.set_worker("a", 77)
    (attempt,) = reopened(state_dir).open_attempts()
    assert (attempt.ref, attempt.run_id, attempt.vm_id, attempt.kind, attempt.pid) == (REF, "run", "vm", "backup", 77)
    journal.end_attempt("a", "succeeded")
    journal.end_attempt("a", "again")
    assert reopened(state_dir).open_attempts() == []


def test_a_checkpoint_is_protected_only_while_live_kept_or_unknown(state_dir: Path) -> None:
    journal = reopened(state_dir)
    journal.note_checkpoint("c", "vm", "repo", "a")
    assert journal.protected_checkpoints({"a"}) == {"c"}
    assert journal.protected_checkpoints(set()) == set()
    journal.keep_checkpoint("c", committed=False)
    assert reopened(state_dir).protected_checkpoints(set()) == {"c"}
    journal.doubt_checkpoint("c")
    assert journal.protected_checkpoints(set()) == set()
    journal.keep_checkpoint("c", committed=True)
    journal.forget_unborn(set())
    assert reopened(state_dir).checkpoints() == {"c": "committed"}


def test_after_a_sweep_what_dead_attempts_began_is_forgotten(state_dir: Path) -> None:
    journal = reopened(state_dir)
    for name, attempt in (("dead", "a"), ("alive", "b")):
        journal.note_checkpoint(name, "vm", "repo", attempt)
    journal.forget_unborn({"b"})
    assert journal.checkpoints() == {"alive": "begun"}


def test_a_commit_supersedes_all_but_its_base_in_its_own_vm_and_repository(state_dir: Path) -> None:
    journal = reopened(state_dir)
    for name, vm, repository in (
        ("old", "vm", "repo"),
        ("base", "vm", "repo"),
        ("new", "vm", "repo"),
        ("other-vm", "vm2", "repo"),
        ("other-repo", "vm", "repo2"),
    ):
        journal.note_checkpoint(name, vm, repository, name)
        journal.keep_checkpoint(name, committed=True)
    journal.forget_superseded("new", "base")
    assert set(journal.checkpoints()) == {"base", "new", "other-vm", "other-repo"}


def test_two_processes_share_it(state_dir: Path) -> None:
    supervisor, worker = reopened(state_dir), reopened(state_dir)
    supervisor.begin_attempt(REF, "run", "vm", "backup")
    worker.note_checkpoint("c", "vm", "repo", "a")
    assert supervisor.checkpoints() == {"c": "begun"}
    assert [item.ref for item in worker.open_attempts()] == [REF]


def test_a_checkpoint_that_another_attempt_goes_on_with_is_that_ones(state_dir: Path) -> None:
    journal = reopened(state_dir)
    journal.note_checkpoint("c", "vm", "repo", "a")
    journal.adopt_checkpoint("c", "vm", "repo", "b")
    journal.adopt_checkpoint("forgotten", "vm", "repo", "b")
    assert journal.protected_checkpoints({"a"}) == set()
    assert reopened(state_dir).protected_checkpoints({"b"}) == {"c", "forgotten"}
    journal.keep_checkpoint("c", committed=True)
    journal.adopt_checkpoint("c", "vm", "repo", "d")
    assert journal.checkpoints()["c"] == "committed", "what counts goes on counting"
