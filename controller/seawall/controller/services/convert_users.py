"""Users on the wire."""

from seawall.api.v1 import user_pb2
from seawall.controller.errors import InvalidArgument
from seawall.controller.records.users import Caller, Role, User
from seawall.controller.services.convert_time import timestamp

_WORD = {role: user_pb2.Role.Value(f"ROLE_{role.value}") for role in Role}
_ROLE = {word: role for role, word in _WORD.items()}


def user_message(user: User) -> user_pb2.User:
    return user_pb2.User(
        name=user.name,
        role=_WORD.get(user.role, user_pb2.ROLE_UNSPECIFIED),
        created_at=timestamp(user.created_us),
        token_created_at=timestamp(user.token_created_us),
    )


def first_message(first: Caller) -> user_pb2.User:
    """Of whom there is no row."""
    return user_pb2.User(name=first.name, role=_WORD[first.role], built_in=True)


def role_of(word: "user_pb2.Role.ValueType") -> Role:
    """Raises InvalidArgument/BAD_ROLE."""
    if word not in _ROLE:
        raise InvalidArgument("BAD_ROLE", f"A user has a role: {', '.join(role.value.lower() for role in Role)}.")
    return _ROLE[word]
