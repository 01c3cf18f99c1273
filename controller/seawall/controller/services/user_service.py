"""UserService on the wire: who operates, and as what."""

from collections.abc import Callable, Sequence
from typing import Any

from grpc import aio

from seawall.api.v1 import user_pb2, user_pb2_grpc
from seawall.controller.errors import Aborted, AlreadyExists
from seawall.controller.records.answers import Asked
from seawall.controller.records.users import FIRST, User
from seawall.controller.server.auth import operator_of
from seawall.controller.services.convert_users import first_message, role_of, user_message
from seawall.controller.services.masks import masked_user
from seawall.controller.services.once import Once, asked_by
from seawall.controller.services.paging import page_by, page_size, start_of
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.users.deciding import added, removed, renewed, with_role
from seawall.repository.clock import Clock

Context = aio.ServicerContext[Any, Any]


class UserServicer(user_pb2_grpc.UserServiceServicer):
    """Errors leave as ControllerError; the status interceptor maps them."""

    def __init__(self, store: Store, once: Once, clock: Clock, on_change: Callable[[], None]) -> None:
        """`on_change`: what was remembered of users holds no longer."""
        self._store = store
        self._once = once
        self._clock = clock
        self._on_change = on_change

    async def GetCaller(self, request: user_pb2.GetCallerRequest, context: Context) -> user_pb2.GetCallerResponse:
        caller = operator_of(context)
        if caller == FIRST:
            return user_pb2.GetCallerResponse(user=first_message(caller))
        return user_pb2.GetCallerResponse(user=await self._shown(caller.name))

    async def ListUsers(self, request: user_pb2.ListUsersRequest, context: Context) -> user_pb2.ListUsersResponse:
        """The first operator in its place among them."""
        size, after = page_size(request.page_size), start_of(request.page_token)
        found = await self._store.read(lambda transaction: transaction.users.users(after=after, limit=size + 1))
        listed = [user_message(user) for user in found]
        if FIRST.name > after:
            listed = sorted([*listed, first_message(FIRST)], key=lambda user: user.name)
        page, token = page_by(listed, size, lambda user: user.name, _as_they_are)
        return user_pb2.ListUsersResponse(users=page, next_page_token=token)

    async def AddUser(self, request: user_pb2.AddUserRequest, context: Context) -> user_pb2.AddUserResponse:
        role = role_of(request.role)

        def decide(before: User | None) -> User:
            return added(before, request.name, role, request.token_sha256, self._clock.now_us())

        return user_pb2.AddUserResponse(user=await self._change(asked_by(request), request.name, decide))

    async def SetUser(self, request: user_pb2.SetUserRequest, context: Context) -> user_pb2.SetUserResponse:
        asked, role = asked_by(request), role_of(masked_user(request).role)

        def decide(before: User | None) -> User:
            return with_role(before, request.name, role, self._clock.now_us())

        return user_pb2.SetUserResponse(user=await self._change(asked, request.name, decide))

    async def RenewUserToken(
        self, request: user_pb2.RenewUserTokenRequest, context: Context
    ) -> user_pb2.RenewUserTokenResponse:
        def decide(before: User | None) -> User:
            return renewed(before, request.name, request.token_sha256, self._clock.now_us())

        return user_pb2.RenewUserTokenResponse(user=await self._change(asked_by(request), request.name, decide))

    async def RemoveUser(self, request: user_pb2.RemoveUserRequest, context: Context) -> user_pb2.RemoveUserResponse:
        await self._change(
            asked_by(request), request.name, lambda before: removed(before, request.name, self._clock.now_us())
        )
        return user_pb2.RemoveUserResponse()

    async def _change(self, asked: Asked, name: str, decide: Callable[[User | None], User]) -> user_pb2.User:
        """The user as it is afterwards. Raises what `decide` raises; AlreadyExists/TOKEN_TAKEN; Aborted/USER_CHANGED."""

        def act(transaction: Transaction) -> str:
            # A name that no text of a database can hold is nobody's; what is wrong with it is said by the decision.
            before = transaction.users.user(name) if "\0" not in name else None
            _save(transaction, before, decide(before))
            return name

        await self._store.write(lambda transaction: self._once.within(transaction, asked, lambda: act(transaction)))
        self._on_change()
        return await self._shown(name)

    async def _shown(self, name: str) -> user_pb2.User:
        """One that was removed meanwhile, as it was then."""
        user = await self._store.read(lambda transaction: transaction.users.user(name))
        return user_pb2.User(name=name) if user is None else user_message(user)


def _save(transaction: Transaction, before: User | None, after: User) -> None:
    other = transaction.users.with_token(after.token_sha256) if after.token_sha256 else None
    if other is not None and other.name != after.name:
        raise AlreadyExists("TOKEN_TAKEN", "That token is another user's already: make a new one.")
    if before is None:
        transaction.users.add(after)
    elif before != after and not transaction.users.save(before, after):
        raise Aborted("USER_CHANGED", f"{after.name} was changed at the same moment: look, and ask again.")


def _as_they_are(page: Sequence[user_pb2.User]) -> Sequence[user_pb2.User]:
    return page
