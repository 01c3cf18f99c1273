"""Errors of the repository. Retry asks one question only: is it temporary?"""


class RepositoryError(Exception):
    """Root of all of them. The message names the object, what is affected and what to do."""


class TemporaryError(RepositoryError):
    """The same call may succeed later: network, 5xx, throttling, a lost reply."""


class StoreUnavailable(TemporaryError):
    """The store did not answer, or answered that it cannot now."""


class StoreBusy(StoreUnavailable):
    """The store asked to be left alone for a while: 503 SlowDown, 429."""


class StoreFull(RepositoryError):
    """No room or no quota left. Not temporary: to repeat the call at once is of no use; a later run may find room."""


class StoreRefused(RepositoryError):
    """The store said no for good: credentials, policy, expired signature."""


class BucketMissing(RepositoryError):
    """The bucket or folder does not exist."""


class ObjectMissing(RepositoryError):
    """No object of that name."""


class ObjectExists(RepositoryError):
    """A create-only PUT met an object of that name."""


class IntegrityError(RepositoryError):
    """Bytes are not what was stored: truncated, flipped, swapped, foreign, replayed or of a wrong key."""


class FormatUnsupported(RepositoryError):
    """Written by a newer Seawall: a version, suite or must-understand feature that this one does not know."""


class WrongKey(RepositoryError):
    """The key does not open this repository."""


class ForeignRepository(RepositoryError):
    """Something else lives at this place."""


class RefmapInvalid(RepositoryError):
    """A refmap that may not be committed."""
