"""Open marks: what is written reads back, and nothing else is believed."""

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.repository.crypto.signing import OPEN_DOMAIN, sign
from seawall.repository.errors import FormatUnsupported, IntegrityError
from seawall.repository.format import open_mark
from seawall.repository.format.layout import open_name, parse_open_name
from seawall.repository.format.open_mark import OpenMark, PointIds, read_open_mark, sign_open_mark
from support import format_samples as samples

SECRET, PUBLIC = samples.SECRETS.signing_secret_key, samples.SECRETS.signing_public_key
ids = st.sets(st.uuids().map(str), max_size=6)
numbers = st.integers(0, 10**12 - 1)
marks = st.builds(
    OpenMark,
    st.just(samples.LINEAGE),
    numbers,
    numbers,
    ids.map(PointIds.of),
    ids.map(PointIds.of),
    st.frozensets(st.tuples(numbers, numbers), max_size=4),
)


def point(number: int) -> str:
    return str(UUID(int=number))


MARK = OpenMark(
    samples.LINEAGE, 7, 1, PointIds.of([point(3), point(1 << 100)]), PointIds.of([point(3)]), frozenset({(4, 2)})
)


@given(mark=marks)
def test_a_mark_reads_as_written(mark: OpenMark) -> None:
    body = sign_open_mark(mark, SECRET)
    assert read_open_mark(body, PUBLIC) == mark
    assert sign_open_mark(mark, SECRET) == body


@given(mark=marks, place=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_no_altered_byte_is_believed(mark: OpenMark, place: int, flip: int) -> None:
    body = bytearray(sign_open_mark(mark, SECRET))
    body[place % len(body)] ^= flip
    with pytest.raises((IntegrityError, FormatUnsupported)):
        read_open_mark(bytes(body), PUBLIC)


@given(mark=marks, length=st.integers(0, 10_000))
def test_no_shortened_mark_is_believed(mark: OpenMark, length: int) -> None:
    body = sign_open_mark(mark, SECRET)
    with pytest.raises(IntegrityError):
        read_open_mark(body[: length % len(body)], PUBLIC)


def test_one_set_of_points_has_one_encoding() -> None:
    """Signed by whoever has the key, and still not what Seawall writes."""
    whole = sign_open_mark(replace(MARK, leaving=PointIds()), SECRET)[:-64]
    first, second = (UUID(each).bytes for each in MARK.points)
    at = whole.index(first + second)
    for other in (second + first, first + first):
        body = whole[:at] + other + whole[at + 32 :]
        with pytest.raises(IntegrityError, match="not sorted"):
            read_open_mark(body + sign(SECRET, OPEN_DOMAIN, body), PUBLIC)


@given(inside=ids, outside=ids)
def test_a_set_of_points_holds_what_was_put_into_it(inside: set[str], outside: set[str]) -> None:
    held = PointIds.of(inside)
    assert set(held) == inside and len(held) == len(inside)
    assert all(each in held for each in inside)
    assert not any(each in held for each in outside - inside)


def test_what_could_not_be_read_again_is_not_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_mark, "MOST_POINTS", 1)
    with pytest.raises(ValueError, match="at most 1 points"):
        sign_open_mark(MARK, SECRET)


def test_a_hundred_thousand_points_take_sixteen_bytes_each() -> None:
    many = PointIds.of(point(number << 64) for number in range(100_000))
    body = sign_open_mark(replace(MARK, points=many), SECRET)
    assert len(body) < 16 * 100_000 + 1000
    assert point(99_999 << 64) in read_open_mark(body, PUBLIC).points


def test_names_say_epoch_and_number() -> None:
    assert open_name(7, 3) == "v1/c/open/000000000007-000000000003"
    assert parse_open_name(open_name(7, 3)) == (7, 3)
    assert parse_open_name("v1/c/open/000000000007") is None


@given(content=st.binary(max_size=400), at=st.integers(0, 400), more=st.binary(max_size=40))
def test_whatever_is_signed_has_one_encoding_or_is_refused(content: bytes, at: int, more: bytes) -> None:
    """As fuzzing behind the signature: chance alone, and a whole mark with something else in it."""
    whole = sign_open_mark(MARK, SECRET)[:-64]
    for body in (content, whole[:at] + more + whole[at + len(more) :]):
        signed = body + sign(SECRET, OPEN_DOMAIN, body)
        try:
            mark = read_open_mark(signed, PUBLIC)
        except (IntegrityError, FormatUnsupported):
            continue
        assert sign_open_mark(mark, SECRET) == signed
