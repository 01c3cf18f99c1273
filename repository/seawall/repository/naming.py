"""Names the object in errors that the codecs raise: they see bytes, the operator needs a place to look at."""

from collections.abc import Iterator
from contextlib import contextmanager

from seawall.repository.errors import RepositoryError


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Errors from inside keep their type and begin with the object's name."""
    try:
        yield
    except RepositoryError as error:
        if name in str(error):  # the store named it already
            raise
        raise type(error)(f"{name}: {error}") from error
