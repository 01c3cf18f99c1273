"""The store's port: what a bucket remembers of hosts, VMs and points."""

from collections.abc import Sequence
from typing import Protocol

from seawall.controller.records.known import Exported, KnownHost, KnownPoint, KnownSettings, KnownVm
from seawall.controller.records.policies import Hold


class Known(Protocol):
    """All that exports carry. What an add meets already stays as it is."""

    def hosts(self) -> Sequence[KnownHost]:
        """By id."""

    def vms(self) -> Sequence[KnownVm]:
        """By id."""

    def settings(self) -> Sequence[KnownSettings]:
        """By VM."""

    def holds(self) -> Sequence[Hold]:
        """By point."""

    def points(self, repository_id: str) -> Sequence[KnownPoint]:
        """AVAILABLE ones, by id."""

    def add_host(self, host: KnownHost) -> bool:
        """With its agent; no session. False: it was there."""

    def add_vm(self, vm: KnownVm) -> bool:
        """Not present until a host reports it. False: it was there."""

    def give_policy(self, point_id: str, policy_id: str, nominal_us: int = 0) -> None:
        """To a point that has none; and to its run, where that does not say, when the policy was due. 0: nobody knows."""

    def save_host(self, host: KnownHost) -> None:
        """Of one that is there: its site, its service, its certificate, and whether it is revoked."""

    def exported(self) -> Sequence[Exported]:
        """By repository."""

    def note_exported(self, known: Exported) -> None:
        """In place of what was known of its repository."""
