"""How a VM is captured, as far as somebody said so: a VM's own settings, a policy's, or what one backup command wants otherwise."""

from dataclasses import dataclass

from seawall.controller.records.runs import FreezePolicy


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """None: not said, somebody else decides. 0: said, and it means "no limit", for ceiling, quota and compression "as you think
    best"."""

    freeze: FreezePolicy | None = None
    freeze_limit_ms: int | None = None
    latency_ceiling_ms: int | None = None
    bytes_per_second: int | None = None
    iops: int | None = None
    exclude_disks: tuple[str, ...] | None = None
    scratch_quota_bytes: int | None = None
    compression: int | None = None


NOTHING_SAID = CaptureSettings()


@dataclass(frozen=True, slots=True)
class VmSettings:
    """Of one VM. `ignored`: somebody decided that no policy need protect it, and `ignored_because`. `tenant` "": its policies say whose
    it is.
    """

    capture: CaptureSettings = NOTHING_SAID
    ignored: bool = False
    ignored_because: str = ""
    tenant: str = ""


NO_SETTINGS = VmSettings()
