"""A `Transaction` over one connection. A new role is a module of this folder, a property here, and a Protocol in store.py."""

from functools import cached_property

import sqlalchemy as sa

from seawall.controller.database.answers import AnswerRows
from seawall.controller.database.authority import AuthorityRows
from seawall.controller.database.fleet import FleetRows
from seawall.controller.database.hooks import HookRows
from seawall.controller.database.jobs import JobRows
from seawall.controller.database.known import KnownRows
from seawall.controller.database.leadership import LeadershipRows
from seawall.controller.database.limits import LimitRows
from seawall.controller.database.moves import MoveRows
from seawall.controller.database.packs import PackRows
from seawall.controller.database.pins import PinRows
from seawall.controller.database.points import PointRows
from seawall.controller.database.policies import PolicyRows
from seawall.controller.database.repositories import RepositoryRows
from seawall.controller.database.runs import RunRows
from seawall.controller.database.settings import SettingRows
from seawall.controller.database.users import UserRows


class RowTransaction:
    """Roles are made when first used. The same for every engine: they speak only the SQL that all of them share."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    @cached_property
    def leadership(self) -> LeadershipRows:
        return LeadershipRows(self._connection)

    @cached_property
    def authority(self) -> AuthorityRows:
        return AuthorityRows(self._connection)

    @cached_property
    def fleet(self) -> FleetRows:
        return FleetRows(self._connection)

    @cached_property
    def moves(self) -> MoveRows:
        return MoveRows(self._connection)

    @cached_property
    def runs(self) -> RunRows:
        return RunRows(self._connection)

    @cached_property
    def settings(self) -> SettingRows:
        return SettingRows(self._connection)

    @cached_property
    def policies(self) -> PolicyRows:
        return PolicyRows(self._connection)

    @cached_property
    def hooks(self) -> HookRows:
        return HookRows(self._connection)

    @cached_property
    def limits(self) -> LimitRows:
        return LimitRows(self._connection)

    @cached_property
    def points(self) -> PointRows:
        return PointRows(self._connection)

    @cached_property
    def packs(self) -> PackRows:
        return PackRows(self._connection)

    @cached_property
    def pins(self) -> PinRows:
        return PinRows(self._connection)

    @cached_property
    def jobs(self) -> JobRows:
        return JobRows(self._connection)

    @cached_property
    def repositories(self) -> RepositoryRows:
        return RepositoryRows(self._connection)

    @cached_property
    def answers(self) -> AnswerRows:
        return AnswerRows(self._connection)

    @cached_property
    def known(self) -> KnownRows:
        return KnownRows(self._connection)

    @cached_property
    def users(self) -> UserRows:
        return UserRows(self._connection)
