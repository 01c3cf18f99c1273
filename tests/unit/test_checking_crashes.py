"""A check or a healing that ends after any of its steps is begun again, and comes to the same."""

from collections.abc import Callable
from typing import Any

import pytest

from seawall.repository.checking.finding import Reason
from seawall.repository.errors import ObjectExists
from seawall.repository.store.memory import MemoryStore
from support.checked_world import CheckedWorld, checked_world
from support.rescue_world import point_id

STEPS_OF_LEDGER = ("proven", "flawed", "reserve", "healed", "damage")


class Crash(Exception):
    """The process ends here."""


class Countdown:
    """Lets so many steps pass; the next one ends the process before it is taken, or after it."""

    def __init__(self) -> None:
        self.left = -1
        self.taken = 0
        self.after = False

    def step(self, do: Callable[[], Any]) -> Any:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Crash
        answer = do()
        self.taken += 1
        if self.left == 0:
            raise Crash
        return answer


class SteppedStore(MemoryStore):
    """PUTs and DELETEs are steps."""

    def __init__(self, countdown: Countdown) -> None:
        super().__init__()
        self._countdown = countdown

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        put = super().put
        self._countdown.step(lambda: put(name, body, create_only=create_only))

    def delete(self, name: str) -> None:
        delete = super().delete
        self._countdown.step(lambda: delete(name))


def stepped() -> tuple[CheckedWorld, Countdown, MemoryStore]:
    """Damaged, with a whole copy: a data pack is altered, and one copy of a meta pack."""
    countdown = Countdown()
    checked = checked_world(SteppedStore(countdown))
    copy = checked.copied()
    for name in (checked.name(checked.data_pack()), checked.name(checked.meta_pack(), 1)):
        body = bytearray(checked.store.get(name))
        body[96 + 40] ^= 1
        checked.replace(name, bytes(body))
    for name in STEPS_OF_LEDGER:
        setattr(checked.ledger, name, _counted(countdown, getattr(checked.ledger, name)))
    return checked, countdown, copy


def _counted(countdown: Countdown, call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *words: countdown.step(lambda: call(*words))


@pytest.mark.parametrize("after", [pytest.param(False, marks=pytest.mark.slow), True], ids=["before", "after"])
def test_every_step(*, after: bool) -> None:
    checked, countdown, copy = stepped()
    countdown.taken = 0
    expected = {one.reason for one in checked.check().findings}
    assert expected == {Reason.CHUNKS_DAMAGED, Reason.COPY_DAMAGED}
    steps_of_check = countdown.taken
    checked.heal(copy)
    steps = countdown.taken
    assert checked.check().findings == ()
    assert steps - steps_of_check >= 10
    for number in range(1, steps + 1):
        checked, countdown, copy = stepped()
        countdown.left, countdown.after = number, after
        try:
            assert checked.check().findings
            checked.heal(copy)
        except Crash:
            countdown.left = -1
        found = [one.reason for one in checked.check().findings]
        assert len(found) == len(set(found)), "nothing but what is not healed, or was not removed yet"
        assert set(found) <= expected | {Reason.OLDER_ALTERED}
        if checked.damage_of(point_id(1)) is None:
            checked.check_restores()  # what the catalogue calls whole, is
        checked.heal(copy)
        assert checked.check().findings == (), number
        assert not checked.ledger.damaged_packs()
        assert checked.damage_of(point_id(1)) is None
        assert checked.check_restores() == ()
        for pack in checked.ledger.stored.values():
            for generation in pack.generations:
                assert checked.store.get(checked.name(pack, generation)) == copy.get(checked.name(pack, 0))


def test_a_generation_that_a_crash_left_is_never_taken_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Numbers are never given out twice; were one given out again, the create-only PUT refuses."""
    checked, _, copy = stepped()
    checked.check()
    pack = checked.data_pack()
    checked.store.put(checked.name(pack, 1), b"somebody else's")
    monkeypatch.setattr(checked.ledger, "reserve", lambda pack, above: 1)
    with pytest.raises(ObjectExists):
        checked.heal(copy)
    assert checked.data_pack().generation == 0
