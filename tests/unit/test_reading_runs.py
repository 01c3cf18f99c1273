"""Chunks that are opened and written together: every byte once, neighbours in one piece, no piece much longer than a run."""

from hypothesis import given
from hypothesis import strategies as st

from seawall.repository.format.record import Codec
from seawall.repository.reading.requests import WantedChunk
from seawall.repository.reading.runs import RUN_BYTES, batches, runs

LENGTHS = (1, 4096, RUN_BYTES // 4, RUN_BYTES - 1, RUN_BYTES, 3 * RUN_BYTES)


@st.composite
def pages(draw: st.DrawFn) -> tuple[list[WantedChunk], list[tuple[int, int]]]:
    """Chunks at one place or more, none over another, in any order; and (start, end) of all their places."""
    place, places = 0, []
    chunks: dict[int, WantedChunk] = {}
    for _ in range(draw(st.integers(1, 12))):
        place += draw(st.sampled_from([0, 0, 4096]))
        number = draw(st.integers(0, 7))
        old = chunks.get(number)
        length = old.raw_bytes if old is not None else draw(st.sampled_from(LENGTHS))
        before = old.places if old is not None else ()
        chunks[number] = WantedChunk(bytes([number]) * 32, number, length, length, Codec.RAW, (*before, place))
        places.append((place, place + length))
        place += length
    return draw(st.permutations(list(chunks.values()))), places


@given(page=pages())
def test_each_chunk_is_in_one_batch_and_batches_end_soon(page: tuple[list[WantedChunk], list[tuple[int, int]]]) -> None:
    chunks, _ = page
    found = list(batches(chunks))
    assert [chunk for batch in found for chunk in batch] == sorted(chunks, key=lambda chunk: chunk.places[0])
    for batch in found:
        assert sum(chunk.raw_bytes for chunk in batch[:-1]) < RUN_BYTES
    assert all(sum(chunk.raw_bytes for chunk in batch) >= RUN_BYTES for batch in found[:-1])


@given(page=pages())
def test_every_place_is_written_once_with_its_chunk(page: tuple[list[WantedChunk], list[tuple[int, int]]]) -> None:
    chunks, places = page
    plaintexts = [chunk.h[:1] * chunk.raw_bytes for chunk in chunks]
    expected = {place: plain for chunk, plain in zip(chunks, plaintexts, strict=True) for place in chunk.places}
    written = list(runs(chunks, [memoryview(plain) for plain in plaintexts]))
    for start, run in written:
        at = start
        while at < start + len(run):
            plain = expected.pop(at)
            assert run[at - start : at - start + len(plain)] == plain
            at += len(plain)
        assert at == start + len(run)
    assert not expected
    ends = {start + len(run): len(run) for start, run in written}
    for start, _ in written:  # two runs that touch: the first was long enough
        assert start not in ends or ends[start] >= RUN_BYTES
    longest = max(end - start for start, end in places)
    assert all(len(run) < RUN_BYTES + longest for _, run in written)
