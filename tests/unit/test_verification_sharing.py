"""Which stores let hosts share verified packs: those where what was verified is what is read later."""

from dataclasses import replace
from pathlib import Path

import pytest

from seawall.controller.index.chunks import ChunkIndex
from seawall.controller.records.catalogue import Capabilities
from seawall.controller.repositories.opened import OpenedRepository
from seawall.repository.store.memory import MemoryStore
from support.controller_records import a_pack, a_repository
from support.rescue_world import RescueWorld

STRONG = Capabilities(True, True, True, True, ())


@pytest.mark.parametrize(
    ("url", "able", "shared"),
    [
        ("s3://bucket/prefix", STRONG, True),
        ("s3://bucket/prefix", replace(STRONG, presigned_requires_condition=False), False),
        ("s3://bucket/prefix", replace(STRONG, conditional_put_atomic=False), False),
        ("s3://bucket/prefix", replace(STRONG, checks_content_md5=False), True),
        ("file:///srv/backups", Capabilities(True, True, True, False, ()), True),
    ],
)
def test_packs_are_shared_where_nobody_can_replace_them(
    tmp_path: Path, url: str, able: Capabilities, shared: bool
) -> None:
    world = RescueWorld(MemoryStore(url))
    record = replace(a_repository(), url=url, capabilities=able)
    opened = OpenedRepository(record, world.repository, ChunkIndex.open(tmp_path))
    told: list[bytes] = []
    opened.index.mark_verified = told.append  # type: ignore[method-assign,assignment]
    opened.verified(a_pack(1, verified_us=1))
    assert (opened.shares_packs, bool(told)) == (shared, shared)
    opened.index.close()


@pytest.mark.parametrize(
    ("url", "taken", "spared"),
    [
        ("s3://bucket/prefix", True, True),
        ("s3://bucket/prefix?endpoint=https://s3.example:9000", True, True),
        ("s3://bucket/prefix?endpoint=http://s3.example:9000", True, False),
        ("s3://bucket/prefix?endpoint=https://s3.example:9000", False, False),
        ("file:///srv/backups", True, True),
    ],
)
def test_a_packs_md5_is_spared_where_the_store_takes_that_and_nothing_alters_bytes_unseen(
    tmp_path: Path, url: str, taken: bool, spared: bool
) -> None:
    record = replace(a_repository(), url=url, capabilities=replace(STRONG, takes_bare_put=taken))
    opened = OpenedRepository(record, RescueWorld(MemoryStore(url)).repository, ChunkIndex.open(tmp_path))
    assert opened.packs_without_md5 is spared
    opened.index.close()
