"""Pages of lists. A token is the id after which the next page begins; opaque to callers.

What callers see is bound to their question besides (server/page_tokens.py).
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import TypeVar

from google.protobuf.message import Message

from seawall.controller.errors import InvalidArgument
from seawall.controller.services.naming import Identified

T = TypeVar("T", bound=Identified)
K = TypeVar("K")
M = TypeVar("M", bound=Message)
DEFAULT_SIZE = 500
LARGEST_SIZE = 1000
LARGEST_BYTES = 3 * 1024 * 1024  # gRPC's limit is 4 MiB
EVERYTHING = 1_000_000
"""More than any of the lists has that are asked for whole."""


def page_size(asked: int) -> int:
    return min(asked or DEFAULT_SIZE, LARGEST_SIZE)


def page_size_or_all(asked: int) -> int:
    """Of lists that had no pages at first: a client of then asks for none, knows no token, and would take a page for the whole list."""
    return page_size(asked) if asked else EVERYTHING


def start_of(token: str) -> str:
    """The id, or name, after which the page begins. Raises InvalidArgument/BAD_PAGE_TOKEN."""
    try:
        text = urlsafe_b64decode(token.encode()).decode()
    except ValueError as error:
        raise not_ours() from error
    # What is no base64 is skipped by the decoder: "%%%" would begin anew. Of a zero byte PostgreSQL makes no comparison.
    if _token(text) != token or "\0" in text:
        raise not_ours()
    return text


def token_after(last: str) -> str:
    """What `start_of` makes the id of."""
    return _token(last)


def not_ours() -> InvalidArgument:
    return InvalidArgument("BAD_PAGE_TOKEN", "The page token is not one of ours; begin again.")


def cut(found: Sequence[T], size: int) -> tuple[Sequence[T], str]:
    """(the page, the token of the next one or ""). `found` was read with one more than the size."""
    if len(found) <= size:
        return found, ""
    return found[:size], _token(found[size - 1].id)


def fit(page: Sequence[Identified], messages: Sequence[M], token: str) -> tuple[Sequence[M], str]:
    """As many of the page's messages as one answer may hold, at least one, and the token of what follows them."""
    count = _fitting(messages)
    return (messages, token) if count == len(messages) else (messages[:count], _token(page[count - 1].id))


def page_by(
    found: Sequence[K], size: int, key: Callable[[K], str], shown: Callable[[Sequence[K]], Sequence[M]]
) -> tuple[Sequence[M], str]:
    """`cut` and `fit` of a list in the order of something else than ids.

    `key`: what the next page begins after; `shown`: messages of those of the page, one for each.
    """
    messages = shown(found[:size])
    count = _fitting(messages)
    return messages[:count], _token(key(found[count - 1])) if count < len(found) else ""


def _fitting(messages: Sequence[Message]) -> int:
    """How many of them one answer may hold, at least one."""
    total = 0
    for count, message in enumerate(messages):
        total += message.ByteSize()
        if total > LARGEST_BYTES and count:
            return count
    return len(messages)


def _token(last: str) -> str:
    return urlsafe_b64encode(last.encode()).decode()
