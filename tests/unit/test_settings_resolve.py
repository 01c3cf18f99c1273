"""Who decides how a VM is captured, within which bounds, and how it is told."""

from dataclasses import replace

import pytest

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.controller.database.columns import dump, load
from seawall.controller.errors import InvalidArgument
from seawall.controller.records.runs import BackupSpec, FreezePolicy
from seawall.controller.records.settings import NO_SETTINGS, NOTHING_SAID, CaptureSettings, VmSettings
from seawall.controller.services.convert_settings import command_of, settings_message, settings_of
from seawall.controller.settings.bounds import UNSETTABLE, check, merged
from seawall.controller.settings.resolve import excluded_disks, resolve

ALL_SAID = CaptureSettings(
    freeze=FreezePolicy.REQUIRE,
    freeze_limit_ms=3000,
    latency_ceiling_ms=20,
    bytes_per_second=50_000_000,
    iops=200,
    exclude_disks=("vdb",),
    scratch_quota_bytes=1 << 30,
    compression=9,
)


def test_where_nobody_said_anything_the_defaults_hold() -> None:
    spec = resolve(NOTHING_SAID, NOTHING_SAID)
    assert replace(spec, chosen=()) == BackupSpec(FreezePolicy.TRY, ())
    assert len(spec.chosen) == 6 and all(sentence.endswith("(the default).") for sentence in spec.chosen)


@pytest.mark.parametrize("vm", [None, (), ("vda",)])
@pytest.mark.parametrize("policy", [None, (), ("vdb",)])
def test_what_a_policy_leaves_out_is_told_without_the_rest(
    vm: tuple[str, ...] | None, policy: tuple[str, ...] | None
) -> None:
    said = CaptureSettings(exclude_disks=vm), CaptureSettings(exclude_disks=policy)
    assert excluded_disks(*said) == resolve(NOTHING_SAID, *said, "gold").exclude_disks


def test_each_setting_is_the_first_that_was_said_and_says_whose_it_is() -> None:
    spec = resolve(
        CaptureSettings(bytes_per_second=0),
        CaptureSettings(freeze=FreezePolicy.REQUIRE, bytes_per_second=50_000_000, exclude_disks=()),
        replace(ALL_SAID, freeze=FreezePolicy.NEVER),
        "gold",
    )
    assert (spec.freeze, spec.bytes_per_second, spec.exclude_disks) == (FreezePolicy.REQUIRE, 0, ())
    assert (spec.latency_ceiling_ms, spec.iops, spec.scratch_quota_bytes) == (20, 200, 1 << 30)
    assert spec.chosen == (
        "Freeze of the guest: require (vm protect), at most 3 s (policy gold).",
        "Guest latency: reading is held back above 20 ms (policy gold).",
        "Reading: at most 200 requests a second (policy gold).",
        "Left out: no disk that can be read (vm protect).",
        "Scratch: at most 1 GiB (policy gold).",
        "Compression: zstd, level 9 (policy gold).",
    )


def test_whoever_asked_for_no_limit_is_named() -> None:
    spec = resolve(CaptureSettings(bytes_per_second=0, freeze=FreezePolicy.NEVER), NOTHING_SAID)
    assert "Reading: no limit (the backup command; of requests: the default)." in spec.chosen
    assert "Freeze of the guest: never (the backup command)." in spec.chosen
    spec = resolve(CaptureSettings(iops=7), CaptureSettings(bytes_per_second=50_000_000))
    assert "Reading: at most 50 MB/s (vm protect), at most 7 requests a second (the backup command)." in spec.chosen


def test_what_was_resolved_survives_the_database_and_an_older_row_too() -> None:
    spec = resolve(ALL_SAID, NOTHING_SAID)
    assert load(BackupSpec, dump(spec)) == spec
    assert load(BackupSpec, '{"freeze":"TRY","exclude_disks":["vdb"]}') == BackupSpec(FreezePolicy.TRY, ("vdb",))
    settings = VmSettings(replace(ALL_SAID, freeze=None, exclude_disks=()), True, "made anew each night")
    assert load(VmSettings, dump(settings)) == settings


@pytest.mark.parametrize(
    "settings", [VmSettings(ALL_SAID), VmSettings(CaptureSettings(iops=0, exclude_disks=())), VmSettings(ignored=True)]
)
def test_settings_pass_the_wire_unchanged(settings: VmSettings) -> None:
    message = settings_message(settings)
    assert message is not None and settings_of(message) == settings


def test_nothing_said_is_no_message() -> None:
    assert settings_message(NO_SETTINGS) is None


def test_the_older_fields_of_a_backup_command_still_speak() -> None:
    request = operator_pb2.StartBackupRequest(
        freeze=resources_pb2.FREEZE_POLICY_NEVER,
        exclude_disks=["vdc"],
        settings=resources_pb2.VmSettings(iops=7, freeze=resources_pb2.FREEZE_POLICY_TRY),
    )
    assert command_of(request) == CaptureSettings(freeze=FreezePolicy.NEVER, exclude_disks=("vdc",), iops=7)
    assert command_of(operator_pb2.StartBackupRequest()) == NOTHING_SAID


def test_what_is_said_replaces_and_what_is_unset_goes() -> None:
    before = VmSettings(ALL_SAID, True, "why not")
    after = merged(before, VmSettings(CaptureSettings(iops=0)), ["freeze", "exclude_disks"])
    assert after == VmSettings(replace(ALL_SAID, freeze=None, exclude_disks=None, iops=0), True, "why not")
    assert merged(before, NO_SETTINGS, ["ignored"]) == VmSettings(ALL_SAID)
    assert merged(before, NO_SETTINGS, ["all"]) == NO_SETTINGS
    assert merged(before, VmSettings(CaptureSettings(iops=5)), ["all"]) == VmSettings(CaptureSettings(iops=5))
    assert merged(before, NO_SETTINGS, UNSETTABLE) == NO_SETTINGS


def test_a_tenant_stays_until_another_is_said_or_it_is_unset() -> None:
    acme = merged(NO_SETTINGS, VmSettings(tenant="acme"), [])
    assert acme == VmSettings(tenant="acme")
    assert merged(acme, VmSettings(CaptureSettings(iops=7)), []).tenant == "acme"
    assert merged(acme, VmSettings(tenant="globex"), []).tenant == "globex"
    assert merged(acme, NO_SETTINGS, ["tenant"]) == merged(acme, NO_SETTINGS, ["all"]) == NO_SETTINGS
    message = settings_message(acme)
    assert message is not None and settings_of(message) == acme


@pytest.mark.parametrize("name", ["Acme", "-acme", "acme-", "a.c", "a/b", "ä", "a" * 64])
def test_a_tenant_has_a_name_that_a_place_in_the_bucket_can_have(name: str) -> None:
    with pytest.raises(InvalidArgument, match="no tenant name") as caught:
        merged(NO_SETTINGS, VmSettings(tenant=name), [])
    assert caught.value.reason == "BAD_SETTING"


@pytest.mark.parametrize(
    "said",
    [
        CaptureSettings(freeze_limit_ms=0),
        CaptureSettings(freeze_limit_ms=1999),
        CaptureSettings(freeze_limit_ms=10_001),
        CaptureSettings(latency_ceiling_ms=10_001),
        CaptureSettings(bytes_per_second=1000),
        CaptureSettings(bytes_per_second=1 << 62),
        CaptureSettings(iops=1_000_001),
        CaptureSettings(scratch_quota_bytes=5),
        CaptureSettings(compression=20),
        CaptureSettings(exclude_disks=("",)),
        CaptureSettings(exclude_disks=("vd\n",)),
    ],
)
def test_what_makes_no_sense_is_refused(said: CaptureSettings) -> None:
    with pytest.raises(InvalidArgument) as refused:
        merged(NO_SETTINGS, VmSettings(said), [])
    assert refused.value.reason == "BAD_SETTING"


def test_an_unknown_setting_cannot_be_unset() -> None:
    with pytest.raises(InvalidArgument, match="no setting colour"):
        merged(NO_SETTINGS, NO_SETTINGS, ["colour"])


def test_what_can_be_said_is_in_bounds() -> None:
    check(ALL_SAID)
    check(CaptureSettings(latency_ceiling_ms=0, bytes_per_second=0, iops=0, scratch_quota_bytes=0, exclude_disks=()))
