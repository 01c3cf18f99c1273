"""Capture settings: records to messages and back."""

from typing import Literal, get_args

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.controller.records.runs import FreezePolicy
from seawall.controller.records.settings import NO_SETTINGS, CaptureSettings, VmSettings
from seawall.controller.text import sentence

_Plain = Literal[
    "freeze_limit_ms", "latency_ceiling_ms", "bytes_per_second", "iops", "scratch_quota_bytes", "compression"
]
_PLAIN: tuple[_Plain, ...] = get_args(_Plain)
_PREFIX = "FREEZE_POLICY_"
_FREEZE = {resources_pb2.FreezePolicy.Value(_PREFIX + policy): policy for policy in FreezePolicy}


def settings_message(settings: VmSettings) -> resources_pb2.VmSettings | None:
    """None where nothing was said."""
    if settings == NO_SETTINGS:
        return None
    message = capture_message(settings.capture)
    message.ignored = settings.ignored
    message.ignored_because = settings.ignored_because
    message.tenant = settings.tenant
    return message


def capture_message(capture: CaptureSettings) -> resources_pb2.VmSettings:
    said = {name: value for name in _PLAIN if (value := getattr(capture, name)) is not None}
    message = resources_pb2.VmSettings(**said)
    if capture.freeze is not None:
        message.freeze = resources_pb2.FreezePolicy.Value(_PREFIX + capture.freeze)
    if capture.exclude_disks is not None:
        message.exclude_disks.CopyFrom(resources_pb2.DiskList(disks=capture.exclude_disks))
    return message


def capture_of(message: resources_pb2.VmSettings) -> CaptureSettings:
    """What is absent was not said; a freeze policy that this controller does not know neither."""
    said = {name: getattr(message, name) for name in _PLAIN if message.HasField(name)}
    disks = tuple(message.exclude_disks.disks) if message.HasField("exclude_disks") else None
    return CaptureSettings(freeze=_FREEZE.get(message.freeze), exclude_disks=disks, **said)


def settings_of(message: resources_pb2.VmSettings) -> VmSettings:
    return VmSettings(capture_of(message), message.ignored, sentence(message.ignored_because), message.tenant)


def command_of(request: operator_pb2.StartBackupRequest) -> CaptureSettings:
    """What a backup command wants otherwise; its older fields say the same as those of the settings."""
    message = resources_pb2.VmSettings()
    message.CopyFrom(request.settings)
    if request.freeze:
        message.freeze = request.freeze
    if request.exclude_disks:
        message.exclude_disks.CopyFrom(resources_pb2.DiskList(disks=request.exclude_disks))
    return capture_of(message)
