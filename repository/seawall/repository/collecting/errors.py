"""Why a collection stops before it changes anything more."""

from seawall.repository.errors import RepositoryError, TemporaryError


class PointBeingDeleted(TemporaryError):
    """Its objects are half gone: collect when it is deleted."""


class CollectionStopped(RepositoryError):
    """`reason`: MANIFEST_UNKNOWN, OPEN_MARK_DAMAGED, REFMAP_UNREADABLE, PACK_UNKNOWN. Nothing that was not condemned before is touched."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
