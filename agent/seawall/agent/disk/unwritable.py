"""What kind of failure it is when a restored disk cannot be written: one that may pass, or a place that stays as it is. Pure."""

import errno

from seawall.agent.errors import DiskUnwritable, TargetUnusable

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CLOSED = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}
)
_FULL_WORDS = ("No space left on device", "Disk quota exceeded", "File too large")


def unwritable(what: str, error: Exception) -> DiskUnwritable:
    """The error to raise from `error`. `what` says what failed, without the reason and without a full stop.

    TargetUnusable, which is not tried again, for a full file system and for a place where nothing can be made.
    """
    number = error.errno if isinstance(error, OSError) else None
    text = (error.strerror if isinstance(error, OSError) else None) or str(error).strip()
    message = f"{what}: {text.removesuffix('.')}."
    if number in _FULL or any(words in text for words in _FULL_WORDS):
        return TargetUnusable(
            message, reason="TARGET_FULL", next_step="Free space there, or give another folder: --directory DIR."
        )
    if number in _CLOSED:
        return TargetUnusable(message, reason="DIRECTORY_UNUSABLE", next_step="Give another folder: --directory DIR.")
    return DiskUnwritable(message)
