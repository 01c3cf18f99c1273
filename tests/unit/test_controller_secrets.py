"""Sealing under the key-encryption key."""

import pickle
from pathlib import Path

import pytest

from seawall.controller.errors import DataLoss, FailedPrecondition
from seawall.controller.secrets import Secret, SecretBox


def box(fill: int = 1) -> SecretBox:
    return SecretBox(Secret(bytes([fill]) * 32))


def reason(sealed: bytes, context: str, opener: SecretBox) -> str:
    with pytest.raises(DataLoss) as caught:
        opener.open(sealed, context)
    return caught.value.reason


def test_what_is_sealed_opens_as_itself_alone() -> None:
    sealed = box().seal(Secret(b"hunter2"), "repository/1/s3")
    assert box().open(sealed, "repository/1/s3").reveal() == b"hunter2"
    assert b"hunter2" not in sealed
    assert reason(sealed, "repository/2/s3", box()) == "SECRET_DAMAGED"


def test_each_sealing_differs() -> None:
    assert box().seal(Secret(b"x"), "c") != box().seal(Secret(b"x"), "c")


def test_another_kek_is_told_from_damage() -> None:
    assert reason(box(1).seal(Secret(b"x"), "c"), "c", box(2)) == "WRONG_KEK"


def test_every_flipped_bit_and_every_cut_is_seen() -> None:
    sealed = box().seal(Secret(b"x"), "c")
    for position in range(len(sealed)):
        flipped = bytearray(sealed)
        flipped[position] ^= 1
        assert reason(bytes(flipped), "c", box()) in ("SECRET_DAMAGED", "WRONG_KEK")
        assert reason(sealed[:position], "c", box()) == "SECRET_DAMAGED"


def test_a_secret_never_shows() -> None:
    secret = Secret(b"hunter2")
    assert [str(secret), repr(secret), f"{secret}", f"{[secret]}"] == ["***", "***", "***", "[***]"]
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_kek_files(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="init"):
        SecretBox.from_file(tmp_path / "kek")
    (tmp_path / "kek").write_bytes(b"short")
    with pytest.raises(DataLoss, match="32 bytes"):
        SecretBox.from_file(tmp_path / "kek")
    (tmp_path / "kek").write_bytes(bytes([1]) * 32)
    assert SecretBox.from_file(tmp_path / "kek").kek_id == box(1).kek_id != box(2).kek_id
