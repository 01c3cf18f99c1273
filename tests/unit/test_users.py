"""Users without a database: which role each method needs, what an order makes of a user, whose token a call carries, what exports say."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from itertools import product

import pytest

from seawall.api.v1 import limits_pb2, operator_pb2, policy_pb2, user_pb2
from seawall.controller.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from seawall.controller.records.known import KnownUser, Settled
from seawall.controller.records.users import FIRST, Caller, Role, User
from seawall.controller.recovering.merging import merged
from seawall.controller.recovering.users import known_user
from seawall.controller.server.callers import REMEMBER_SECONDS, Callers
from seawall.controller.server.roles import LEAST_ROLE, NEEDS, require
from seawall.controller.server.standby import READS
from seawall.controller.services.convert_users import user_message
from seawall.controller.users.deciding import added, later, removed, renewed, with_role
from support.controller_clock import ManualClock

NOW = 1_800_000_000_000_000
TOKEN, OTHER = sha256(b"token").digest(), sha256(b"other").digest()
ANNA = User("anna", Role.VIEWER, TOKEN.hex(), NOW, NOW, NOW)
METHODS = [
    f"/{service.full_name}/{method.name}"
    for module in (operator_pb2, policy_pb2, limits_pb2, user_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


def test_every_method_of_operators_is_in_the_table_once() -> None:
    named = [f"{service}/{name}" for part in NEEDS.values() for service, names in part.items() for name in names]
    assert sorted(named) == sorted(method.removeprefix("/seawall.api.v1.") for method in METHODS)
    assert sorted(LEAST_ROLE) == sorted(METHODS)


def test_viewers_may_read_and_nothing_else() -> None:
    for method, least in LEAST_ROLE.items():
        assert (least is Role.VIEWER) is method.rpartition("/")[2].startswith(READS), method


def test_each_role_includes_the_one_before() -> None:
    order = list(Role)
    for (one, role), (two, least) in product(enumerate(order), enumerate(order)):
        assert role.may(least) is (one >= two)


def test_a_refusal_names_the_user_what_is_needed_and_what_to_do() -> None:
    cancel = "/seawall.api.v1.BackupService/CancelRun"
    with pytest.raises(PermissionDenied) as refused:
        require(cancel, Caller("anna", Role.VIEWER))
    assert refused.value.reason == "ROLE_TOO_LOW"
    assert refused.value.metadata == {"user": "anna", "role": "viewer", "needed": "operator"}
    assert str(refused.value) == (
        "anna is a viewer, and this needs an operator. An admin can change that: seawall user set anna --role operator"
    )
    assert require(cancel, Caller("bert", Role.OPERATOR)) is Role.OPERATOR


def test_a_method_that_nobody_entered_is_refused_to_everybody() -> None:
    with pytest.raises(PermissionDenied):
        require("/seawall.api.v1.BackupService/Tomorrow", FIRST)


def test_orders_change_what_they_name() -> None:
    assert added(None, "anna", Role.VIEWER, TOKEN, NOW) == ANNA
    assert with_role(ANNA, "anna", Role.ADMIN, NOW + 1) == replace(ANNA, role=Role.ADMIN, changed_us=NOW + 1)
    assert with_role(ANNA, "anna", Role.VIEWER, NOW + 1) is ANNA
    fresh = renewed(ANNA, "anna", OTHER, NOW + 1)
    assert fresh == replace(ANNA, token_sha256=OTHER.hex(), token_created_us=NOW + 1, changed_us=NOW + 1)
    gone = removed(ANNA, "anna", NOW + 2)
    assert gone == replace(ANNA, token_sha256="", changed_us=NOW + 2, removed_us=NOW + 2)
    again = added(gone, "anna", Role.OPERATOR, OTHER, NOW + 3)
    assert (again.removed_us, again.role, again.created_us) == (0, Role.OPERATOR, NOW + 3)


def test_a_change_is_later_than_the_one_before_though_the_clock_went_back() -> None:
    gone = removed(ANNA, "anna", NOW - 10)
    assert gone.changed_us == NOW + 1 and later(ANNA, gone)
    assert added(gone, "anna", Role.VIEWER, OTHER, NOW - 20).changed_us == NOW + 2


@pytest.mark.parametrize("name", ["", "Anna", "a b", "-a", "a.", "ä", "a" * 64, "a\0b", "a\n", "../x"])
def test_names_are_as_those_of_policies(name: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        added(None, name, Role.VIEWER, TOKEN, NOW)
    assert refused.value.reason == "BAD_NAME"


@pytest.mark.parametrize("token", [b"", TOKEN[:-1], TOKEN + b"x"])
def test_what_is_no_hash_is_refused(token: bytes) -> None:
    with pytest.raises(InvalidArgument, match="32 bytes"):
        added(None, "anna", Role.VIEWER, token, NOW)
    with pytest.raises(InvalidArgument, match="32 bytes"):
        renewed(ANNA, "anna", token, NOW)


def test_the_first_operator_and_strangers_are_left_alone() -> None:
    with pytest.raises(AlreadyExists):
        added(None, FIRST.name, Role.VIEWER, TOKEN, NOW)
    with pytest.raises(AlreadyExists):
        added(ANNA, "anna", Role.VIEWER, OTHER, NOW)
    with pytest.raises(FailedPrecondition):
        removed(None, FIRST.name, NOW)
    gone = removed(ANNA, "anna", NOW)
    for before in (None, gone):
        with pytest.raises(NotFound):
            with_role(before, "anna", Role.ADMIN, NOW)


class Table:
    """The users that a database holds, and how often it was asked."""

    def __init__(self, *users: User) -> None:
        self.users: Sequence[User] = users
        self.looks = 0

    async def __call__(self) -> Sequence[User]:
        self.looks += 1
        found = self.users
        await asyncio.sleep(0)
        return found


def test_whose_token_it_is_is_remembered_for_a_few_seconds() -> None:
    async def scene() -> None:
        table, clock = Table(ANNA), ManualClock(NOW)
        callers = Callers([OTHER], table, clock)
        assert await callers(OTHER) == FIRST and table.looks == 0, "the first operator needs no database"
        assert await callers(TOKEN) == Caller("anna", Role.VIEWER)
        table.users = [replace(ANNA, role=Role.ADMIN)]
        clock.advance(REMEMBER_SECONDS - 0.1)
        assert await callers(TOKEN) == Caller("anna", Role.VIEWER) and table.looks == 1
        clock.advance(0.1)
        assert await callers(TOKEN) == Caller("anna", Role.ADMIN) and table.looks == 2
        table.users = []
        callers.forget()
        assert await callers(TOKEN) is None, "at once where it was changed"

    asyncio.run(scene())


def test_a_new_user_is_known_at_once_and_a_stranger_costs_one_look() -> None:
    async def scene() -> None:
        table, clock = Table(), ManualClock(NOW)
        callers = Callers([], table, clock)
        assert await callers(TOKEN) is None
        table.users = [ANNA]
        assert await callers(TOKEN) == Caller("anna", Role.VIEWER)
        await asyncio.gather(*(callers(TOKEN) for _ in range(20)))
        assert table.looks == 2

    asyncio.run(scene())


def test_a_look_that_a_change_overtakes_is_not_remembered() -> None:
    async def scene() -> None:
        table, clock = Table(ANNA), ManualClock(NOW)
        callers = Callers([], table, clock)

        async def change() -> None:
            table.users = []
            callers.forget()

        before, _ = await asyncio.gather(callers(TOKEN), change())
        assert before == Caller("anna", Role.VIEWER) and await callers(TOKEN) is None

    asyncio.run(scene())


def test_a_role_of_a_later_version_is_kept_and_may_do_nothing() -> None:
    auditor = User(**asdict(known_user(ANNA)) | {"role": Role("AUDITOR")})
    assert known_user(auditor).role == f"{auditor.role}" == "AUDITOR" and list(Role) == ["VIEWER", "OPERATOR", "ADMIN"]
    assert user_message(auditor).role == user_pb2.ROLE_UNSPECIFIED
    assert not any(auditor.role.may(least) for least in Role)
    with pytest.raises(PermissionDenied):
        require("/seawall.api.v1.UserService/GetCaller", Caller("anna", auditor.role))
    assert with_role(auditor, "anna", Role.ADMIN, NOW + 1).role is Role.ADMIN


def test_of_several_exports_each_user_counts_as_it_was_changed_last() -> None:
    gone, bert = known_user(removed(ANNA, "anna", NOW + 1)), KnownUser("bert", "ADMIN", "bb", NOW, NOW, NOW)
    newest, older = Settled(users=(known_user(ANNA),)), Settled(users=(gone, bert))
    assert set(merged([newest, older]).users) == {gone, bert}
    assert set(merged([older, newest]).users) == {gone, bert}
