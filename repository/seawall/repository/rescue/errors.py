"""Errors of rescue beside those of the repository. `reason` is the stable word for scripts; the message says what to do next."""

from seawall.repository.errors import RepositoryError


class RescueError(RepositoryError):
    """Root of them."""

    reason = "RESCUE"


class KeyFileUnusable(RescueError):
    """The file with the recovery key cannot be read."""

    reason = "KEY_FILE"


class PointUnknown(RescueError):
    """No such point, or no point of such a VM."""

    reason = "POINT_UNKNOWN"


class PointAmbiguous(RescueError):
    """Several points begin so."""

    reason = "POINT_AMBIGUOUS"


class DiskUnknown(RescueError):
    """The point has no such disk."""

    reason = "DISK_UNKNOWN"


class TargetExists(RescueError):
    """Something is there that this rescue did not make."""

    reason = "TARGET_EXISTS"


class TargetBusy(RescueError):
    """Somebody else is writing there, or has it mounted."""

    reason = "TARGET_BUSY"


class TargetUnfit(RescueError):
    """No folder, no block device, or one that is too small."""

    reason = "TARGET_UNFIT"


class TargetFull(RescueError):
    """No space is left; what was written stays, and is used when the rescue goes on."""

    reason = "TARGET_FULL"


class TargetUnwritable(RescueError):
    """The system refused to write, for another reason than space."""

    reason = "TARGET_UNWRITABLE"
