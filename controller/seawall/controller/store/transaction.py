"""One transaction of the store, seen by role, and the store itself. What both keep to stands in the package's docstring."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from seawall.controller.store.answers import Answers
from seawall.controller.store.authority import Authority
from seawall.controller.store.fleet import Fleet, Moves
from seawall.controller.store.hooks import Hooks
from seawall.controller.store.jobs import Jobs
from seawall.controller.store.known import Known
from seawall.controller.store.leadership import Leadership
from seawall.controller.store.limits import Limits
from seawall.controller.store.packs import Packs, Pins
from seawall.controller.store.points import Points
from seawall.controller.store.policies import Policies
from seawall.controller.store.repositories import Repositories
from seawall.controller.store.runs import Runs
from seawall.controller.store.settings import Settings
from seawall.controller.store.users import Users

T = TypeVar("T")


class Transaction(Protocol):
    """One transaction, seen by role."""

    @property
    def leadership(self) -> Leadership: ...
    @property
    def authority(self) -> Authority: ...
    @property
    def fleet(self) -> Fleet: ...
    @property
    def moves(self) -> Moves: ...
    @property
    def runs(self) -> Runs: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def policies(self) -> Policies: ...
    @property
    def hooks(self) -> Hooks: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def points(self) -> Points: ...
    @property
    def packs(self) -> Packs: ...
    @property
    def pins(self) -> Pins: ...
    @property
    def jobs(self) -> Jobs: ...
    @property
    def repositories(self) -> Repositories: ...
    @property
    def answers(self) -> Answers: ...
    @property
    def known(self) -> Known: ...
    @property
    def users(self) -> Users: ...


class Store(Protocol):
    """The database."""

    async def write(self, closure: Callable[[Transaction], T]) -> T: ...

    async def read(self, closure: Callable[[Transaction], T]) -> T: ...

    def write_now(self, closure: Callable[[Transaction], T]) -> T: ...

    def read_now(self, closure: Callable[[Transaction], T]) -> T: ...
