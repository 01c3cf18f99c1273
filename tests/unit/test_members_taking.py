"""Members of a point: where they lie, whether they are of the instant, and what is said of those that are not there."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from seawall.agent.hypervisor.port import Hypervisor
from seawall.agent.hypervisor.xml import parse
from seawall.agent.members import names
from seawall.agent.members.looking import NotTakable, look
from seawall.agent.members.taking import MemberTaking
from seawall.agent.members.whereabouts import whereabouts

VM_ID = "0b1c6f0e-3d0a-4b8e-9f5a-27d2a1e0c7aa"
SWTPM = Path("/var/lib/libvirt/swtpm")


class Definitions:
    """The part of a Hypervisor that members are found by."""

    def __init__(self, live: str) -> None:
        self.live = live

    def domain_xml(self, vm_id: str) -> str:
        return f"<domain><!-- {vm_id} --></domain>"

    def live_xml(self, vm_id: str) -> str:
        return self.live


def a_domain(nvram: object = "", tpm: str = "") -> str:
    os_row = f"<os><loader type='pflash'>/f/CODE.fd</loader>{nvram}</os>" if nvram else "<os/>"
    return f"<domain>{os_row}<devices>{tpm}</devices></domain>"


def told(text: str) -> list[tuple[str, str]]:
    return list(whereabouts(parse(text), VM_ID, SWTPM).warnings)


def paths(text: str) -> dict[str, str]:
    return {one.member: str(one.path) for one in whereabouts(parse(text), VM_ID, SWTPM).files}


def test_files_are_those_that_libvirt_names() -> None:
    tpm = "<tpm><backend type='emulator' version='2.0'/></tpm>"
    assert paths(a_domain("<nvram template='/t'>/n/web_VARS.fd</nvram>", tpm)) == {
        names.NVRAM: "/n/web_VARS.fd",
        "tpm2-00.permall": f"{SWTPM}/{VM_ID}/tpm2/tpm2-00.permall",
    }
    assert paths(a_domain("<nvram type='file'><source file='/n/x'/></nvram>")) == {names.NVRAM: "/n/x"}
    old = "<tpm><backend type='emulator' version='1.2'/></tpm>"
    assert paths(a_domain(tpm=old)) == {"tpm-00.permall": f"{SWTPM}/{VM_ID}/tpm1.2/tpm-00.permall"}
    elsewhere = "<tpm><backend type='emulator'><source type='dir' path='/tpms/web'/></backend></tpm>"
    assert paths(a_domain(tpm=elsewhere)) == {"tpm2-00.permall": "/tpms/web/tpm2-00.permall"}
    assert paths("<domain/>") == {} and told("<domain/>") == []


@pytest.mark.parametrize(
    "os_row",
    [
        "<os firmware='efi'/>",
        "<os><loader type='pflash'>/x</loader></os>",
        "<os><nvram type='network'><source protocol='nbd' name='x'/></nvram></os>",
        "<os><nvram format='qcow2'>/n/x.qcow2</nvram></os>",
    ],
)
def test_variables_that_are_in_no_plain_file_are_told_of(os_row: str) -> None:
    text = f"<domain>{os_row}</domain>"
    assert [reason for reason, _ in told(text)] == ["NVRAM_NOT_CAPTURED"] and paths(text) == {}


def test_firmware_without_variables_is_not_missed() -> None:
    assert told("<domain><os firmware='efi'><loader type='pflash' stateless='yes'>/x</loader></os></domain>") == []


def test_a_tpm_of_the_host_is_told_of() -> None:
    text = a_domain(tpm="<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>")
    assert [reason for reason, _ in told(text)] == ["TPM_NOT_CAPTURED"] and paths(text) == {}


def test_secrets_of_libvirt_are_named_and_not_taken() -> None:
    lock = "<encryption format='luks'><secret type='passphrase' uuid='u-1'/></encryption>"
    disk = f"<disk><source file='/i'>{lock}</source><target dev='vda'/></disk>"
    tpm = "<tpm><backend type='emulator'><encryption secret='u-2'/></backend></tpm>"
    first, second = told(a_domain(tpm=disk + tpm))
    assert first[0] == second[0] == "SECRET_NOT_IN_POINT"
    assert "vda" in first[1] and "u-1" in first[1] and "u-2" in second[1]


@pytest.fixture
def nvram(tmp_path: Path) -> Path:
    path = tmp_path / "web_VARS.fd"
    path.write_bytes(b"before")
    return path


def taking(nvram: Path) -> MemberTaking:
    definitions = Definitions(a_domain(f"<nvram>{nvram}</nvram>"))
    return MemberTaking(cast(Hypervisor, definitions), VM_ID, SWTPM)


def test_what_stood_still_around_the_instant_is_of_the_instant(nvram: Path) -> None:
    members = taking(nvram).taken()
    assert members.files == {names.DOMAIN: f"<domain><!-- {VM_ID} --></domain>".encode(), names.NVRAM: b"before"}
    assert members.warnings == ()


def rewritten(path: Path) -> None:
    path.write_bytes(b"after!")


def replaced(path: Path) -> None:
    new = path.with_name("TMP")
    new.write_bytes(b"after!")
    os.utime(new, ns=(path.stat().st_mtime_ns,) * 2)
    new.replace(path)


@pytest.mark.parametrize("change", [rewritten, replaced])
def test_what_changed_meanwhile_is_in_the_point_with_a_warning(nvram: Path, change: Callable[[Path], None]) -> None:
    begun = taking(nvram)
    change(nvram)
    members = begun.taken()
    assert members.files[names.NVRAM] == b"after!"
    ((reason, message),) = members.warnings
    assert reason == "MEMBER_NOT_AT_INSTANT" and "UEFI" in message


def test_a_missing_file_costs_a_warning_alone(nvram: Path) -> None:
    begun = taking(nvram)
    nvram.unlink()
    members = begun.taken()
    assert set(members.files) == {names.DOMAIN}
    ((reason, message),) = members.warnings
    assert reason == "NVRAM_NOT_CAPTURED" and str(nvram) in message and "fresh" in message


def test_a_link_that_qemus_user_laid_is_not_followed(nvram: Path, tmp_path: Path) -> None:
    (tmp_path / "shadow").write_bytes(b"secret")
    nvram.unlink()
    nvram.symlink_to(tmp_path / "shadow")
    with pytest.raises(NotTakable):
        look(nvram)
    nvram.unlink()
    os.mkfifo(nvram)
    with pytest.raises(NotTakable, match="regular"):
        look(nvram)


def test_a_file_that_is_no_member_for_its_length_is_refused(nvram: Path) -> None:
    os.truncate(nvram, names.LARGEST_BYTES + 1)
    with pytest.raises(NotTakable, match="at most"):
        look(nvram)
