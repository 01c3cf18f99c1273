"""Names of objects: what is written is parsed back, and nothing strange becomes a name."""

from collections.abc import Callable

import pytest

from seawall.repository.format import layout
from seawall.repository.store.names import is_name
from support.format_samples import POINT, VM

PACK = bytes(range(0x3F, 0x4F))
ATTEMPT = "6f1f7d3e-0000-4000-8000-0000000000aa"
NAMES = {
    "v1/config": layout.config_name(),
    "v1/config.2": layout.config_name(2),
    "v1/keys/default/1.recovery": layout.key_name("default", 1, "recovery"),
    "v1/p/default/3f/3f404142434445464748494a4b4c4d4e.1": layout.pack_name("default", PACK, 1),
    f"v1/m/t-1/{VM}/{POINT}": layout.manifest_name("t-1", VM, POINT),
    f"v1/r/t-1/{VM}/{POINT}": layout.refmap_name("t-1", VM, POINT),
    f"v1/t/t-1/{VM}/{POINT}": layout.tombstone_name("t-1", VM, POINT),
    f"v1/a/{ATTEMPT}/root-{'07' * 32}": layout.hand_in_name(ATTEMPT, "root", b"\x07" * 32),
    f"v1/c/epoch/000000000012-{ATTEMPT}": layout.epoch_name(12, ATTEMPT),
    "v1/c/open/000000000012-000000000003": layout.open_name(12, 3),
}


@pytest.mark.parametrize("expected", NAMES)
def test_names(expected: str) -> None:
    assert NAMES[expected] == expected
    assert is_name(expected)


def test_names_parse_back() -> None:
    assert layout.parse_pack_name(layout.pack_name("a", PACK, 7)) == layout.PackName("a", PACK, 7)
    assert layout.parse_key_name(layout.key_name("a", 3, "controller")) == layout.KeyName("a", 3, "controller")
    for name in (layout.manifest_name, layout.refmap_name, layout.tombstone_name):
        assert layout.parse_point_name(name("a", VM, POINT)) == layout.PointName("a", VM, POINT)
    hand_in = layout.hand_in_name(ATTEMPT, "refmap", b"\x01" * 32)
    assert layout.parse_hand_in_name(hand_in) == layout.HandInName(ATTEMPT, "refmap", b"\x01" * 32)
    assert layout.parse_epoch_name(layout.epoch_name(5, ATTEMPT)) == (5, ATTEMPT)
    assert layout.parse_trimmed_name(layout.trimmed_name(7)) == 7


@pytest.mark.parametrize(
    "name",
    [
        "",
        "v1/p/default/40/3f404142434445464748494a4b4c4d4e.1",  # another first byte than the folder says
        "v1/p/default/3f/3f404142434445464748494a4b4c4d4e.01",
        "v1/p/default/3f/3f404142434445464748494a4b4c4d4e.4294967296",
        "v1/p/default/3f/3F404142434445464748494A4B4C4D4E.1",
        "v1/keys/default/0.recovery",
        "v1/keys/default/4294967296.recovery",
        "v1/keys/-/1.recovery",
        f"v1/m/default/{VM}/{'-' * 36}",
        f"v1/m/{'a' * 64}/{VM}/{POINT}",
        f"v1/a/{'0' * 36}/root-{'07' * 32}",
        f"v1/m/default/{VM}/{POINT}.tmp",
        f"v1/m/default/{VM}/{POINT}/more",
        f"v1/a/{ATTEMPT}/other-{'07' * 32}",
        "v1/c/epoch/12-x",
    ],
)
def test_foreign_names_are_not_ours(name: str) -> None:
    parsers = (layout.parse_pack_name, layout.parse_key_name, layout.parse_point_name, layout.parse_hand_in_name)
    assert [parse(name) for parse in (*parsers, layout.parse_epoch_name)] == [None] * 5


@pytest.mark.parametrize(
    "make",
    [
        lambda: layout.manifest_name("..", VM, POINT),
        lambda: layout.manifest_name("default", VM.upper(), POINT),
        lambda: layout.manifest_name("default", VM, "../x"),
        lambda: layout.manifest_name("default", VM, POINT + "\n"),
        lambda: layout.manifest_name("-a", VM, POINT),
        lambda: layout.packs_prefix("a" * 64),
        lambda: layout.packs_prefix(""),
        lambda: layout.pack_name("default", b"short", 0),
        lambda: layout.pack_name("default", PACK, -1),
        lambda: layout.key_name("default", 0, "controller"),
        lambda: layout.key_name("default", 1, "a/b"),
        lambda: layout.hand_in_name(ATTEMPT, "root", b"short"),
        lambda: layout.config_name(3),
        lambda: layout.epoch_name(10**12, ATTEMPT),
    ],
)
def test_nothing_strange_becomes_a_name(make: Callable[[], str]) -> None:
    with pytest.raises(ValueError):
        make()
