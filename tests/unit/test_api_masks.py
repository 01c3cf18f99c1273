"""Changes that name their fields: what is meant, what stays, what is refused."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from seawall.api.v1 import limits_pb2, operator_pb2, resources_pb2
from seawall.controller.errors import InvalidArgument
from seawall.controller.records.runs import FreezePolicy
from seawall.controller.records.settings import CaptureSettings, VmSettings
from seawall.controller.services.convert_settings import settings_of
from seawall.controller.services.masks import SETTINGS, masked_host, masked_limits, masked_settings
from seawall.controller.settings.bounds import UNSETTABLE, merged

BEFORE = VmSettings(CaptureSettings(freeze=FreezePolicy.REQUIRE, iops=100, exclude_disks=("vdb",)), True, "old")


def protect(*paths: str, unset: tuple[str, ...] = (), **said: object) -> VmSettings:
    """BEFORE, changed by such a request."""
    request = operator_pb2.ProtectVmRequest(
        settings=resources_pb2.VmSettings(**said),  # type: ignore[arg-type]
        update_mask=FieldMask(paths=paths),
        unset=unset,
    )
    message, gone = masked_settings(request)
    return merged(BEFORE, settings_of(message), gone)


def test_what_is_named_becomes_what_is_said_and_the_rest_stays() -> None:
    after = protect("iops", iops=7, bytes_per_second=5_000_000)
    assert after == VmSettings(
        CaptureSettings(freeze=FreezePolicy.REQUIRE, iops=7, exclude_disks=("vdb",)), True, "old"
    )


def test_what_is_named_and_has_no_value_is_taken_back() -> None:
    assert protect("iops", "freeze").capture == CaptureSettings(exclude_disks=("vdb",))
    assert protect("exclude_disks").capture.exclude_disks is None
    none: tuple[str, ...] = ()
    assert protect("exclude_disks", exclude_disks=resources_pb2.DiskList()).capture.exclude_disks == none
    assert protect("iops", iops=0).capture.iops == 0, "a zero that was said is a value"
    assert not protect("ignored", "ignored_because").ignored


def test_every_setting_can_be_named_and_taken_back() -> None:
    """A new one in the message that the record does not know would be taken back in vain."""
    assert {*UNSETTABLE, "ignored_because"} == set(SETTINGS)
    assert protect(*SETTINGS) == VmSettings()


def test_without_a_mask_what_is_present_replaces() -> None:
    assert protect(iops=3).capture.iops == 3
    assert protect(unset=("freeze",)).capture.freeze is None


@pytest.mark.parametrize(
    ("paths", "unset", "says"),
    [
        (("speed",), (), "no field 'speed'; there are freeze"),
        (("exclude_disks.disks",), (), "exclude_disks.disks"),
        (("*",), (), "does not know"),
        (("x" * 5000,), (), "xxx"),
        (("ignored_because",), (), "name ignored as well"),
        (("iops",), ("freeze",), "'freeze' is to be unset"),
    ],
)
def test_a_mask_that_makes_no_sense_is_refused(paths: tuple[str, ...], unset: tuple[str, ...], says: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        protect(*paths, unset=unset)
    assert refused.value.reason == "BAD_MASK" and says in str(refused.value) and len(str(refused.value)) < 500


def test_limits() -> None:
    request = limits_pb2.SetLimitRequest(
        scope="global", preparing=3, transferring=9, update_mask=FieldMask(paths=["preparing", "bandwidth"])
    )
    said, taken_back = masked_limits(request)
    assert said.preparing == 3 and not said.HasField("transferring") and taken_back == {"bandwidth"}
    with pytest.raises(InvalidArgument, match="no field 'scope'"):
        masked_limits(limits_pb2.SetLimitRequest(update_mask=FieldMask(paths=["scope"])))


def test_hosts() -> None:
    cordoned = limits_pb2.HOST_SERVICE_CORDONED
    request = limits_pb2.SetHostRequest(host="a", service=cordoned, update_mask=FieldMask(paths=["site"]))
    said = masked_host(request)
    assert not said.service and said.HasField("site") and said.site == ""
    with pytest.raises(InvalidArgument, match="always has a service"):
        masked_host(limits_pb2.SetHostRequest(host="a", update_mask=FieldMask(paths=["service"])))
