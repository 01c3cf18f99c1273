"""Places that a restored disk cannot be written to: what mends itself is tried again, what does not is not."""

import errno
import os
from pathlib import Path

import pytest

from seawall.agent.disk.target import create_target
from seawall.agent.disk.unwritable import unwritable
from seawall.agent.errors import AgentError, DiskUnwritable, FailureKind, TargetUnusable
from seawall.repository.clock import SystemClock


@pytest.mark.parametrize(
    ("error", "reason", "kind"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "TARGET_FULL", FailureKind.PERMANENT),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "TARGET_FULL", FailureKind.PERMANENT),
        (AgentError("qemu-img: x: No space left on device"), "TARGET_FULL", FailureKind.PERMANENT),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "DIRECTORY_UNUSABLE", FailureKind.PERMANENT),
        (OSError(errno.EACCES, os.strerror(errno.EACCES)), "DIRECTORY_UNUSABLE", FailureKind.PERMANENT),
        (OSError(errno.EIO, os.strerror(errno.EIO)), "DISK_UNWRITABLE", FailureKind.TRANSIENT),
        (AgentError("the server went away."), "DISK_UNWRITABLE", FailureKind.TRANSIENT),
    ],
)
def test_what_is_tried_again(error: Exception, reason: str, kind: FailureKind) -> None:
    made = unwritable("/x could not be written", error)
    assert (made.reason, made.kind) == (reason, kind)
    assert (
        str(made).startswith("/x could not be written: ") and str(made).endswith(".") and not str(made).endswith("..")
    )


@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
@pytest.mark.parametrize("name", ["gone/disk", "file/disk", "x" * 300])
def test_a_path_that_cannot_be_is_refused_for_good(tmp_path: Path, disk_format: str, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TargetUnusable) as refused:
        create_target(tmp_path / name, disk_format, 1 << 20, tmp_path / "socket", SystemClock())
    assert refused.value.reason == "DIRECTORY_UNUSABLE" and "--directory" in refused.value.next_step


@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_a_path_that_is_taken_is_no_reason_to_give_up(tmp_path: Path, disk_format: str) -> None:
    taken = tmp_path / "taken"
    taken.write_text("somebody's")
    with pytest.raises(DiskUnwritable) as refused:
        create_target(taken, disk_format, 1 << 20, tmp_path / "socket", SystemClock())
    assert refused.value.kind is FailureKind.TRANSIENT and taken.read_text() == "somebody's"
