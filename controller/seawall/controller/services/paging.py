"""Pages of lists. A token is the id after which the next page begins; opaque to callers."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import TypeVar

from google.protobuf.message import Message

from seawall.controller.errors import InvalidArgument
from seawall.controller.services.naming import Identified

T = TypeVar("T", bound=Identified)
M = TypeVar("M", bound=Message)
DEFAULT_SIZE = 500
LARGEST_SIZE = 1000
LARGEST_BYTES = 3 * 1024 * 1024  # gRPC's limit is 4 MiB


def page_size(asked: int) -> int:
    return min(asked or DEFAULT_SIZE, LARGEST_SIZE)


def start_of(token: str) -> str:
    """The id after which the page begins. Raises InvalidArgument/BAD_PAGE_TOKEN."""
    try:
        return urlsafe_b64decode(token.encode()).decode()
    except ValueError as error:
        raise InvalidArgument("BAD_PAGE_TOKEN", "The page token is not one of ours; begin again.") from error


def cut(found: Sequence[T], size: int) -> tuple[Sequence[T], str]:
    """(the page, the token of the next one or ""). `found` was read with one more than the size."""
    if len(found) <= size:
        return found, ""
    return found[:size], _token(found[size - 1])


def fit(page: Sequence[Identified], messages: Sequence[M], token: str) -> tuple[Sequence[M], str]:
    """As many of the page's messages as one answer may hold, at least one, and the token of what follows them."""
    total = 0
    for count, message in enumerate(messages):
        total += message.ByteSize()
        if total > LARGEST_BYTES and count:
            return messages[:count], _token(page[count - 1])
    return messages, token


def _token(last: Identified) -> str:
    return urlsafe_b64encode(last.id.encode()).decode()
