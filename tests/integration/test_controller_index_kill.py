"""A controller that is killed in the middle of writing, marking and merging its chunk index."""

import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from seawall.controller.index.chunks import ChunkIndex
from support.pack_tables import random_ids, table_of

PACKS_PER_LIFE = 100_000  # a multiple of 4
CHUNKS = 2_000

CHILD = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from support.pack_tables import random_ids, table_of
    from seawall.controller.index.chunks import ChunkIndex

    index = ChunkIndex.open(Path(sys.argv[1]))
    first, packs, chunks = (int(argument) for argument in sys.argv[2:])
    for number in range(first, first + packs):
        index.insert_pack(number.to_bytes(16, "big"), 0, "alpha", table_of(random_ids(chunks, seed=number)))
        before = max(first, number - 1).to_bytes(16, "big")
        if number % 4 == 1:
            index.forget_pack(before)
        elif number % 4 == 2:
            index.withdraw(before, [0])
        elif number % 4 == 3:
            index.mark_verified(before)
        index.flush()
        print(number, flush=True)
    """
)


def test_what_was_flushed_is_there_after_a_kill(tmp_path: Path) -> None:
    chance = random.Random(1)
    flushed: set[int] = set()
    for life in range(6):
        first = life * PACKS_PER_LIFE
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [sys.executable, "-c", CHILD, str(tmp_path), str(first), str(PACKS_PER_LIFE), str(CHUNKS)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                flushed.add(int(line))
                if chance.random() < 0.1:
                    break
            child.send_signal(signal.SIGKILL)
            flushed.update(int(line) for line in child.stdout if line.endswith("\n"))
        index = ChunkIndex.open(tmp_path)
        assert index.rebuild_reason is None
        known = {int.from_bytes(pack_id, "big") for pack_id in index.known_packs()}
        marked = {number - 1 for number in flushed if number % PACKS_PER_LIFE}
        forgotten = {number for number in marked if number % 4 == 0}
        assert flushed
        assert flushed - known <= forgotten | {
            max(flushed)
        }  # the last one's successor may have been written unreported
        assert not known & forgotten
        assert len(known - flushed) <= life + 1  # written, but killed before it could say so
        for number in known & flushed:
            check(index, number, marked=number in marked)


def check(index: ChunkIndex, number: int, *, marked: bool) -> None:
    ids = random_ids(CHUNKS, seed=number)
    pack_id = number.to_bytes(16, "big")
    lengths, found = index.raw_lengths(pack_id), index.lookup("alpha", ids)
    assert lengths is not None
    assert lengths.tolist() == table_of(ids)["raw_bytes"].tolist()
    if marked:
        assert set(found) == set(range(1 if number % 4 == 1 else 0, CHUNKS))
        assert len(index.lookup("beta", ids)) == (CHUNKS if number % 4 == 2 else 0)
    else:
        assert len(found) >= CHUNKS - 1
