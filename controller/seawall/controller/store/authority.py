"""The store's port: the certificate authority's state, and what hosts said of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from seawall.controller.certificates.state import AuthorityState


@dataclass(frozen=True, slots=True)
class Said:
    """What a host trusts and shows, as root ids."""

    trusts: frozenset[str]
    shows: str


class Authority(Protocol):
    """One state for all controllers of the database."""

    def state(self) -> AuthorityState | None:
        """None: none is stored."""

    def save(self, state: AuthorityState, before: int) -> bool:
        """Whether the stored version was `before` (0: none), and the state took its place."""

    def note(self, said: Mapping[str, Said], now_us: int) -> None:
        """Agent id -> what it said now. Agents that are unknown are passed over."""

    def said(self) -> Mapping[str, Said]:
        """What each agent said last, also in rotations of before: no two have a root in common."""

    def open_tokens(self, now_us: int) -> int:
        """How many join tokens may still be used."""
