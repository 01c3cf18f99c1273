"""Every parser against structure-aware mutations: our own refusals, never another error; what is accepted is right; memory is bounded.

The same targets run under a coverage-guided fuzzer by hand: tests/fuzz/README.md.
"""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from seawall.repository.errors import IntegrityError
from support.mutations import Step, mutated, steps
from support.parser_targets import TARGETS, Target

MOST_BYTES = 24 * 1024 * 1024
"""What reading a few KiB may take: above the largest chunk that one frame may become."""


@contextmanager
def bounded_memory() -> Iterator[None]:
    tracemalloc.start(1)
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST_BYTES, f"{peak} bytes for a small object"


def check(target: Target, body: bytes) -> None:
    with bounded_memory():
        try:
            target.read(body)
        except target.refusals as refusal:
            assert str(refusal)


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_are_read(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name].read(seed)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 9), steps())
@example(0, [("token", 2, 6)])
@example(0, [("token", 3, 5)])
@example(0, [("word", 1, 13)])
def test_mutations(name: str, seed: int, changes: list[Step]) -> None:
    target = TARGETS[name]
    check(target, mutated(target.seeds[seed % len(target.seeds)], changes))


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_of_other_kinds(name: str) -> None:
    """An object in another one's place, alone and behind this one's beginning."""
    target = TARGETS[name]
    for other in TARGETS.values():
        for seed in other.seeds:
            if seed not in target.seeds:
                check(target, seed)
            check(target, target.seeds[0][:16] + seed[16:])


def test_what_chance_does_not_find_packs_of_a_condemn_log_out_of_order() -> None:
    target = TARGETS["condemn log, signed"]
    (content,) = target.seeds
    first, second = content.index(b"\xaa" * 16), content.index(b"\xbb" * 16)
    front, one, two = content[:first], content[first:second], content[second:]
    for entries in (two + one, one + one, two + two):
        with pytest.raises(IntegrityError, match="not sorted"):
            target.read(front + entries)
