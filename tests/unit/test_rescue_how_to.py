"""The text beside rescued files names what the point holds, and says of what it does not hold what to do instead."""

from seawall.repository.format.manifest import Member, Root
from seawall.repository.format.record import Codec, Locator
from seawall.repository.rescue.how_to import how_to_text

CHUNK = Locator(bytes(16), 0, 0, 96, 128, 100, Codec.RAW)


def text_with(*members: str) -> str:
    held = tuple(Member(name, bytes(32), CHUNK) for name in members)
    return how_to_text(Root(b"l", "t", "v", "web", "p", "", 1, 1, False, (), held, None, ()))


def test_members_are_named_with_their_places() -> None:
    text = text_with("domain.xml", "nvram.fd", "tpm2-00.permall")
    assert "nvram.fd holds the UEFI variables" in text
    assert "tpm2-00.permall holds the contents of the TPM" in text and "/swtpm/<uuid of the VM>/tpm2/" in text


def test_what_is_missing_is_said() -> None:
    text = text_with("domain.xml")
    assert "no UEFI variables" in text and "no contents of a TPM" in text and "{" not in text
    assert "make a VM with these disks by hand" in text_with("nvram.fd")


def test_a_member_under_another_name_is_named_by_its_file() -> None:
    text = text_with("domain.xml", "../x", "tpm-00.permall")
    assert "/tpm1.2/" in text and "tpm-00.permall holds" in text
