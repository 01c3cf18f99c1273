"""Capturing a VM that is off: its images are read where they lie, without any lock, and it may be started at any moment.

Whoever starts it wins: nothing of ours stands in the way, and what was read counts only if nobody wrote an image from before the first
byte was read until after the last.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import structlog

from seawall.agent.capture.doubts import broken_why
from seawall.agent.capture.frozen_time import FrozenTime
from seawall.agent.capture.leftovers import make_places, remove_places
from seawall.agent.capture.names import Places, places
from seawall.agent.capture.plan import SIZE_CHANGED_WHY, DiskPlan
from seawall.agent.capture.planning import planned
from seawall.agent.capture.port import CapturedDisk, CaptureRequest
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.disk.explained_source import ExplainedSource
from seawall.agent.disk.identity import source_id, tells_of_writes
from seawall.agent.disk.image_mark import ImageMark, is_written, mark_of
from seawall.agent.disk.image_source import ImageSource
from seawall.agent.disk.other_images import lies_elsewhere
from seawall.agent.disk.qcow2_chain import backing_chain, has_data_file
from seawall.agent.errors import (
    AgentError,
    DiskNeedsRunningVm,
    DiskUnreadable,
    FreezeFailed,
    VmBusy,
    VmNotFound,
    VmStarted,
)
from seawall.agent.hypervisor.port import UNTOLD, DiskImage, Domain, Hypervisor
from seawall.agent.members.taking import MemberTaking
from seawall.repository.clock import Clock
from seawall.repository.format.manifest import Checkpoint

logger = structlog.get_logger(__name__)

LOOK_SECONDS = 0.1
"""How often libvirt and the locks are asked: shorter than a VM takes from its start to its first write."""
LOOK_AFTER_SILENCE_SECONDS = 30.0
"""When a libvirt that did not answer is asked again, where the images tell enough by themselves."""
SAVED = (
    "VM_SAVED",
    "The VM's memory is saved on its host and is not in this point: a VM restored from it starts as after a power cut.",
)


def capture_off(
    request: CaptureRequest, hypervisor: Hypervisor, settings: CaptureSettings, clock: Clock, domain: Domain
) -> "OffCapture":
    """Raises VmStarted, VmBusy, FreezeFailed, NothingToBackUp, DiskUnreadable, DiskNeedsRunningVm, HypervisorError."""
    if domain.saved and request.freeze == "require":
        raise FreezeFailed(
            f"The VM {domain.name!r} is saved: what its guest had not written yet lies in its saved memory, and it cannot be frozen.",
            may_be_frozen=False,
            next_step="Start the VM, or set the policy's freeze to `try`.",
        )
    where = places(settings.run_dir, settings.scratch_dir, request.attempt_id)
    make_places(where, None)  # QEMU has no part in it
    capture = OffCapture(request, hypervisor, settings, clock, where)
    try:
        capture.begin(domain)
    except BaseException:
        capture.close()
        raise
    return capture


class OffCapture:
    """See Capture for the contract. It makes no checkpoint; the parent's goes on for the disks that were read by its bitmaps."""

    def __init__(
        self,
        request: CaptureRequest,
        hypervisor: Hypervisor,
        settings: CaptureSettings,
        clock: Clock,
        where: Places,
    ) -> None:
        self._request, self._hypervisor, self._settings, self._clock = request, hypervisor, settings, clock
        self._where = where
        self._opened: list[ImageSource] = []
        self._marks: dict[str, ImageMark] = {}
        self._all_marked = True
        self._look_at_seconds = 0.0
        self.disks: Sequence[CapturedDisk] = ()
        self.instant_us = 0
        self.guest_frozen = False
        self.frozen = FrozenTime()
        self.warnings: Sequence[tuple[str, str]] = ()
        self.members: Mapping[str, bytes] = {}
        self.checkpoint: Checkpoint | None = None
        self.resumed_from = ""

    def begin(self, domain: Domain) -> None:
        """Note down what the images are like, and connect. Called once, by capture_off."""
        plan = planned(self._request, self._hypervisor, domain)
        images = self._hypervisor.disk_images(self._request.vm_id, [one.disk.target for one in plan.disks])
        self._marks = {path: mark_of(path) for image in images for path in _paths(image)}
        self._all_marked = all(image.path for image in images)
        members = MemberTaking(self._hypervisor, self._request.vm_id, self._settings.swtpm_dir)
        self.instant_us = self._clock.now_us()
        taken = members.taken()
        self.members = taken.files
        self.warnings = (*plan.warnings, *([SAVED] if domain.saved else []), *taken.warnings)
        self._refuse_written()
        self.disks = tuple(
            self._connect(number, one, image)
            for number, (one, image) in enumerate(zip(plan.disks, images, strict=True))
        )
        self.checkpoint = self._inherited()
        self.check()
        logger.info(
            "capture.begun",
            attempt_id=self._request.attempt_id,
            vm_id=self._request.vm_id,
            off=True,
            disks={one.target: one.how for one in self.disks},
        )

    def check(self) -> None:
        """See Capture. Raises VmStarted as well."""
        if self._clock.monotonic_seconds() >= self._look_at_seconds:
            self._look()  # which opens the files: a network file system asks its server then, and the marks are of now
        for path, mark in self._marks.items():
            if mark_of(path) != mark:
                raise VmStarted(
                    f"{path} was written while the VM was off and being read: the VM, or another program, began to use it."
                )

    def keep_checkpoint(self) -> None:
        """There is none of its own."""

    def handing_in(self, now: bool) -> None:
        """Nothing of it outlives its worker."""

    def leave(self) -> None:
        """The same."""

    def delete_older_checkpoints(self) -> None:
        """libvirt deletes none of a VM that is off; the next backup of the running VM does."""

    def close(self) -> None:
        """End the servers and remove the sockets; never raises."""
        for opened in self._opened:
            opened.close()
        remove_places(self._where)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self, number: int, plan: DiskPlan, image: DiskImage) -> CapturedDisk:
        opened, plan = self._open(number, plan, image)
        identity = source_id(plan.disk.source, as_written=plan.how == "bitmap")
        return plan.captured(ExplainedSource(opened.source, self._explain), identity)

    def _open(self, number: int, plan: DiskPlan, image: DiskImage) -> tuple[ImageSource, DiskPlan]:
        """A bitmap that QEMU does not take, or that is of another size, costs a compare."""
        base = self._base() if plan.how == "bitmap" else ""
        if not base:
            return self._served(number, image, None), plan
        try:
            opened = self._served(number, image, base)
        except DiskUnreadable as error:
            logger.warning("capture.bitmap_lost", vm_id=self._request.vm_id, disk=image.target, error=str(error))
            return self._served(number, image, None), plan.compared(broken_why(base))
        if opened.source.size_bytes == plan.disk.capacity_bytes:
            return opened, plan
        opened.close()
        return self._served(number, image, None), plan.compared(SIZE_CHANGED_WHY)

    def _served(self, number: int, image: DiskImage, bitmap: str | None) -> ImageSource:
        opened = ImageSource(
            image,
            self._where.image_socket(number),
            self._clock,
            bitmap=bitmap,
            connections=self._settings.nbd_connections,
            timeout_seconds=self._settings.nbd_timeout_seconds,
        )
        self._opened.append(opened)
        return opened

    def _base(self) -> str:
        parent = self._request.parent
        return parent.checkpoint.name if parent and parent.checkpoint else ""

    def _inherited(self) -> Checkpoint | None:
        """The parent's bitmaps serve the next point as well, for files of which can be told then that nobody wrote them since.

        Of one that was written they would do only if it went on from what this point saw: a copy from before, put back in place, did not.
        """
        parent = self._request.parent
        read = tuple(one.target for one in self.disks if one.how == "bitmap" and tells_of_writes(one.source_id))
        return replace(parent.checkpoint, disks=read) if parent and parent.checkpoint and read else None

    def _refuse_written(self) -> None:
        for path in self._marks:
            if is_written(path):
                raise VmBusy(
                    f"{path} is open for writing although its VM is off: another program uses it, or the VM runs on another host.",
                    reason="DISK_IN_USE",
                    next_step="See `lsof` on that host, and on others that share this storage; it is tried again.",
                )

    def _explain(self) -> None:
        """After a read error: raises VmStarted where that is the reason."""
        self._look_at_seconds = 0.0
        self.check()

    def _look(self) -> None:
        """Whether anybody uses the images. Raises VmStarted."""
        try:
            is_on = self._hypervisor.is_active(self._request.vm_id)
        except VmNotFound:
            raise
        except AgentError:
            if not self._all_marked:
                raise
            is_on = False
            self._look_at_seconds = self._clock.monotonic_seconds() + LOOK_AFTER_SILENCE_SECONDS
        else:
            self._look_at_seconds = self._clock.monotonic_seconds() + LOOK_SECONDS
        if is_on or any(is_written(path) for path in self._marks):
            raise VmStarted(
                "The VM was off when this backup began, and was started meanwhile; what was read is not used."
            )


def _paths(image: DiskImage) -> list[str]:
    """The image's file or device and those that it lies upon. Raises DiskNeedsRunningVm.

    QEMU guesses a format that a header does not record from the content, which a guest may have written: it could name any file of the
    host. libvirt does not start such VMs either. Nor is a file of data opened that a header names: libvirt's QEMU may read its own files
    alone, and qemu-nbd is root.
    """
    if not image.path:
        return []
    if elsewhere := lies_elsewhere(image.path, str(image.options["driver"])):
        raise DiskNeedsRunningVm(f"Disk {image.target} lies in {image.path}, which is {elsewhere}.")
    is_qcow2 = image.options["driver"] == "qcow2"
    chain = list(backing_chain(image.path)) if is_qcow2 else []
    layers = [image.path, *(one.path for one in chain if one.format == "qcow2")] if is_qcow2 else []
    for path in layers:
        if has_data_file(path):
            raise DiskNeedsRunningVm(f"Disk {image.target} lies in {path}, whose data are in another file.")
    for said, found in zip(image.laid_upon, [*(one.path or UNTOLD for one in chain), ""], strict=False):
        if UNTOLD not in (said, found) and os.path.realpath(said or "/") != os.path.realpath(found or "/"):
            raise DiskNeedsRunningVm(
                f"Disk {image.target} lies upon {found or 'nothing'} by its file, and upon {said or 'nothing'} as its definition says."
            )
    for one in chain:
        if not one.format:
            raise DiskNeedsRunningVm(
                f"Disk {image.target} lies upon {one.name}, whose format its header does not record.",
                next_step=f"Record it: qemu-img rebase -u -b {one.name} -F FORMAT FILE.",
            )
    return [image.path, *(one.path for one in chain if one.path)]
