"""Where the bench of the repository keeps its things: below build/bench, which may be deleted at any time."""

from benchmarks.images.places import BENCH

RESULT = BENCH / "repository.json"
WORK = BENCH / "repository"
"""Repositories, restored files, caches of restic: of no use after a run, removed at its end and before the next."""
