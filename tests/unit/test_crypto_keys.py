"""Secrets: never printed, and the recovery key survives paper, typing and haste."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.repository.crypto.chunk import chunk_hash, chunk_id, chunk_key
from seawall.repository.crypto.keys import cut_key_commitment, new_secrets
from seawall.repository.crypto.recovery import parse_recovery_key, recovery_key_text
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.errors import FormatUnsupported, IntegrityError, WrongKey
from seawall.repository.recovery_sheet import RecoverySheet, parse_recovery_sheet, render_recovery_sheet
from support import format_samples as samples

SHEET = RecoverySheet(
    samples.RECIPIENT_SECRETS["recovery"],
    samples.LINEAGE,
    samples.SECRETS.signing_public_key,
    "s3://backups/site-a?endpoint=https://s3.example",
)


def test_identity_vectors() -> None:
    h = chunk_hash(bytes(32), b"seawall")
    assert h.hex() == "a8749028a3f001a78cec9b9a4fc79c4b3d7d40adce5419cad074b8a5b3971806"
    assert chunk_id(h).hex() == "9ac3dc172e483ab14f126be901f9d5a9"
    assert chunk_key(h).hex() == "a35638f61235a2c418c4edd95185a7bbc4419d55c5d0f78ad7a0c767175bb1ce"
    assert cut_key_commitment(bytes(32)).hex() == "94b682a41b8b28ccf8fbca0a8c767bbcf391f6e2f1a5aa3400b1a5dec6a9efbe"


def test_hash_id_and_key_are_unlike() -> None:
    h = chunk_hash(b"k" * 32, b"x")
    assert h != chunk_hash(b"j" * 32, b"x")
    assert chunk_id(h) != chunk_key(h)[:16]
    assert chunk_hash(b"k" * 32, memoryview(b"x")) == h


def test_secrets_do_not_print() -> None:
    for value in (samples.SECRETS, samples.BUNDLE, SHEET):
        shown = f"{value} {value!r}"
        assert "***" in shown
        secrets = (b"\x22", b"\x33", b"\x44", b"\x55", b"\x66", b"\x11")
        assert not any(repr(secret * 4)[2:-1] in shown or (secret * 4).hex() in shown for secret in secrets)


def test_new_secrets_are_new_and_have_a_first_epoch_for_each_tenant() -> None:
    one, two = new_secrets(("a", "b")), new_secrets(("a", "b"))
    assert one.repository_public_key == public_key_of(one.repository_secret_key)
    assert len({one.repository_secret_key, one.signing_secret_key, one.cut_key, *one.dedup_keys.values()}) == 5
    assert not set(one.dedup_keys.values()) & set(two.dedup_keys.values())
    assert (one.newest_epoch("a"), len(one.k_dedup("b", 1))) == (1, 32)
    with pytest.raises(KeyError):
        one.newest_epoch("c")


@given(st.binary(min_size=32, max_size=32))
def test_recovery_keys_come_back_however_they_are_typed(secret: bytes) -> None:
    text = recovery_key_text(secret)
    assert [len(group) for group in text.split("-")] == [4] * 16
    sloppy = text.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert parse_recovery_key(text) == parse_recovery_key(f"\n {sloppy}\t") == secret


@given(st.binary(min_size=32, max_size=32), st.integers(0, 63), st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
def test_one_mistyped_character_is_noticed(secret: bytes, position: int, character: str) -> None:
    typed = recovery_key_text(secret).replace("-", "")
    mistyped = typed[:position] + character + typed[position + 1 :]
    if mistyped != typed:
        with pytest.raises(WrongKey, match=r"checksum|version"):
            parse_recovery_key(mistyped)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text[:-1], "63 characters; it has 64"),
        (lambda text: text + "A", "65 characters"),
        (lambda text: "", "0 characters"),
        (lambda text: text.replace("-", "_", 1), "'_' cannot stand"),
        (lambda text: text[5:9] + "-" + text[:4] + text[9:], "checksum"),
    ],
)
def test_a_wrong_recovery_key_says_what_is_wrong(change: Callable[[str], str], why: str) -> None:
    with pytest.raises(WrongKey, match=why):
        parse_recovery_key(change(recovery_key_text(samples.noise("key", 32))))


def test_sheets_come_back_also_from_another_editor() -> None:
    text = render_recovery_sheet(SHEET)
    assert parse_recovery_sheet(text) == SHEET
    assert parse_recovery_sheet("\r\n" + text.replace("\n", "\r\n") + "  ") == SHEET
    assert all(len(line) <= 120 for line in text.splitlines() if SHEET.repository_url not in line)


@pytest.mark.parametrize(
    ("old", "new", "error", "why"),
    [
        ("SEAWALL RECOVERY SHEET 1", "A LETTER", IntegrityError, "first line"),
        ("SHEET 1", "SHEET 2", FormatUnsupported, "upgrade"),
        ("Lineage:            00", "Lineage:            ", IntegrityError, "15 bytes, not 16"),
        ("Lineage:            00", "Lineage:            zz", IntegrityError, "not hexadecimal"),
        ("Signing public key:", "Signature:", IntegrityError, "'Signing public key:' is missing"),
        ("Recovery key:", "Key:", IntegrityError, "'Recovery key:' is missing"),
        ("Repository:         s3", "Repository:\nRepository: s3", IntegrityError, "there twice"),
    ],
)
def test_a_damaged_sheet_says_which_line(old: str, new: str, error: type[Exception], why: str) -> None:
    text = render_recovery_sheet(SHEET)
    assert old in text
    with pytest.raises(error, match=why):
        parse_recovery_sheet(text.replace(old, new, 1))
