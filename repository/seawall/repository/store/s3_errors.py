"""What an S3 answer that is no success means: one table for boto3's path and for presigned URLs. Pure."""

from collections.abc import Mapping

from seawall.repository.errors import (
    BucketMissing,
    ObjectExists,
    ObjectMissing,
    RepositoryError,
    StoreBusy,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
)

_BY_CODE: Mapping[str, type[RepositoryError]] = {
    "QuotaExceeded": StoreFull,
    "InsufficientStorage": StoreFull,
    "XMinioStorageFull": StoreFull,
    "NoSuchBucket": BucketMissing,
    "NoSuchKey": ObjectMissing,
    "PreconditionFailed": ObjectExists,
    # 400s that say "the transfer failed", not "never do this".
    "IncompleteBody": StoreUnavailable,
    "RequestTimeout": StoreUnavailable,
    "RequestTimeTooSkewed": StoreRefused,
}

_BY_STATUS: Mapping[int, type[RepositoryError]] = {
    404: ObjectMissing,
    408: StoreUnavailable,
    409: StoreUnavailable,  # ConditionalRequestConflict: two create-only PUTs at once, neither done
    412: ObjectExists,
    425: StoreUnavailable,
    429: StoreBusy,
    503: StoreBusy,
    507: StoreFull,
}

_HINTS: Mapping[int, str] = {
    301: "the bucket is in another region: set region= in the store's URL",
    307: "the bucket is behind another endpoint: set endpoint= in the store's URL",
    403: "expired or wrong signature, or a policy forbids it",
    507: "the store is full",
}


def from_status(status: int, code: str, label: str) -> RepositoryError:
    """The error for an HTTP status and S3's error code ("" if it sent none). `label` says what was asked of what."""
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status) or (StoreUnavailable if status >= 500 else StoreRefused)
    hint = f": {_HINTS[status]}" if status in _HINTS else ""
    return kind(f"{label}: the store answered {status} {code}".rstrip() + hint)
