"""Whether a VM's points may go with it to the host that reports it now. Pure.

A point's manifest opens all that the point holds, and any enrolled host may say that it runs a VM which its owner does not report. So the
word of the new host counts for nothing: the old one must have said by itself that the VM left by migration, at about the time when the new
one reported it, and nobody else may have claimed it around then; or an operator says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from seawall.controller.records.moves import Move

_ANY_TIME = 1 << 63
LONGEST_WAY = 16
"""Moves between two points. Whoever moves more often is read as if it were new."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What counts as "at about that time", in microseconds."""

    window_us: int
    """Between what the old host says and what the new one reports."""

    settle_us: int
    """Afterwards: so long a host that really runs it has to contradict."""


@dataclass(frozen=True, slots=True)
class Belief:
    """`settles_us` > 0: nothing is against it yet, and then it will be known. `doubt`: one sentence; "" when it is believed."""

    doubt: str = ""
    settles_us: int = 0

    @property
    def believed(self) -> bool:
        return not self.doubt and not self.settles_us


def belief(moves: Sequence[Move], from_host: str, to_host: str, since_us: int, now_us: int, terms: Terms) -> Belief:
    """`moves`: of one VM, in any order. `from_host`: which took the point at `since_us`.

    Way by way back from the present host to that of the point: each must be believed.
    """
    host, settles_us, later_us = to_host, 0, _ANY_TIME  # another controller's clock may be ahead
    for _ in range(LONGEST_WAY):
        if host == from_host:
            return Belief(settles_us=settles_us)
        last = _last_to(host, moves, later_us)
        if last is None:
            return Belief("nobody has seen how it came there")
        if last.confirmed_us:
            return Belief(settles_us=settles_us) if last.confirmed_us >= since_us else Belief(_CONFIRMED_BEFORE)
        if doubt := _doubt(last, terms):
            return Belief(doubt)
        settles_us = max(settles_us, _settles(last, now_us, terms))
        host, later_us = last.from_host, last.taken_us
    return Belief("it moved too often since")


_CONFIRMED_BEFORE = "it was confirmed there before that point was taken elsewhere"


def contradicted(move: Move, host_id: str, at_us: int, terms: Terms) -> bool:
    """Whether a host that says at this time that it runs the VM speaks against the move. The old host does until it said that the VM left:
    what leaves it later goes elsewhere.
    """
    in_time = at_us <= max(move.left_us, move.taken_us) + terms.settle_us
    old = host_id == move.from_host and not move.left_us
    return bool(move.to_host) and host_id != move.to_host and (in_time or old)


def is_news(moves: Sequence[Move], host_id: str, left_us: int) -> bool:
    """Whether what a host says, again and again, of a VM's leaving was not noted yet, and is not of a time before the VM came back."""
    came_us = max((move.taken_us for move in moves if move.to_host == host_id), default=0)
    noted = any(move.from_host == host_id and move.left_us and move.left_us >= came_us for move in moves)
    return left_us >= came_us and not noted


def speaks_of(move: Move, host_id: str, left_us: int, terms: Terms) -> bool:
    """Whether a host that says that the VM left it at this time means this move, of which it has not spoken yet."""
    mine = move.from_host == host_id and bool(move.to_host) and not move.left_us
    return mine and abs(move.taken_us - left_us) <= terms.window_us


def _last_to(host: str, moves: Sequence[Move], until_us: int) -> Move | None:
    arrived = [move for move in moves if move.to_host == host != move.from_host and _when(move) <= until_us]
    return max(arrived, key=_when, default=None)


def _when(move: Move) -> int:
    return move.confirmed_us or move.taken_us


def _doubt(move: Move, terms: Terms) -> str:
    if move.rival:
        return "another host said at about the same time that it runs it"
    if not move.left_us:
        return "the host where it was has not said that it left by migration"
    if abs(move.left_us - move.taken_us) > terms.window_us:
        return "too long passed between its leaving and its arrival"
    return ""


def _settles(move: Move, now_us: int, terms: Terms) -> int:
    """When nobody contradicts any more; 0: that is over."""
    over_us = max(move.left_us, move.taken_us) + terms.settle_us
    return over_us if over_us > now_us else 0
