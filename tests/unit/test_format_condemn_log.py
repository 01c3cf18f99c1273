"""Condemn logs: one encoding, signed, and nothing else is read as one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.repository.crypto.signing import signing_public_key_of
from seawall.repository.errors import FormatUnsupported, IntegrityError
from seawall.repository.format.condemn_log import MAX_LOG_PACKS, CondemnLog, open_condemn_log, sign_condemn_log
from seawall.repository.format.layout import condemned_name, parse_condemned_name
from seawall.repository.format.slot_set import NO_SLOTS, SlotSet

SECRET = bytes(range(32))
PUBLIC = signing_public_key_of(SECRET)
LINEAGE = b"lineage-of-tests"

slot_sets = st.sets(st.integers(0, 16_383), min_size=1, max_size=50).map(SlotSet.of)
logs = st.builds(
    CondemnLog,
    st.just(LINEAGE),
    st.integers(0, 1 << 40),
    st.integers(0, 1 << 30),
    st.dictionaries(st.binary(min_size=16, max_size=16), slot_sets, min_size=1, max_size=8),
)


@given(log=logs)
def test_a_log_reads_as_written(log: CondemnLog) -> None:
    body = sign_condemn_log(log, SECRET)
    assert open_condemn_log(body, PUBLIC) == log
    assert sign_condemn_log(log, SECRET) == body


@given(log=logs, place=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_no_altered_byte_is_believed(log: CondemnLog, place: int, flip: int) -> None:
    body = bytearray(sign_condemn_log(log, SECRET))
    body[place % len(body)] ^= flip
    with pytest.raises((IntegrityError, FormatUnsupported)):
        open_condemn_log(bytes(body), PUBLIC)


@given(log=logs, length=st.integers(0, 10_000))
def test_no_shortened_log_is_believed(log: CondemnLog, length: int) -> None:
    body = sign_condemn_log(log, SECRET)
    with pytest.raises(IntegrityError):
        open_condemn_log(body[: length % len(body)], PUBLIC)


@pytest.mark.parametrize("slots", [{}, {b"short": SlotSet.of((1,))}, {bytes(16): NO_SLOTS}])
def test_what_cannot_be_read_back_is_not_signed(slots: dict[bytes, SlotSet]) -> None:
    with pytest.raises(ValueError, match=str(MAX_LOG_PACKS)):
        sign_condemn_log(CondemnLog(LINEAGE, 1, 1, slots), SECRET)


def test_names_say_number_and_epoch() -> None:
    assert condemned_name(7, 3) == "v1/c/condemned/000000000007-000000000003"
    assert parse_condemned_name(condemned_name(7, 3)) == (7, 3)
    assert parse_condemned_name("v1/c/condemned/7-3") is None
