"""Targets: what people type, what stands beside images, names of objects and URLs of stores."""

from seawall.repository.crypto.recovery import parse_recovery_key, recovery_key_text
from seawall.repository.errors import FormatUnsupported, IntegrityError, WrongKey
from seawall.repository.format.layout import (
    HandInKind,
    condemned_name,
    epoch_name,
    export_name,
    hand_in_name,
    key_name,
    manifest_name,
    open_name,
    pack_name,
    parse_condemned_name,
    parse_epoch_name,
    parse_export_name,
    parse_hand_in_name,
    parse_key_name,
    parse_open_name,
    parse_pack_name,
    parse_point_name,
    parse_trimmed_name,
    refmap_name,
    tombstone_name,
    trimmed_name,
)
from seawall.repository.reading.damage import Damage
from seawall.repository.recovery_sheet import (
    RecoverySheet,
    parse_recovery_material,
    parse_recovery_sheet,
    render_recovery_sheet,
)
from seawall.repository.rescue.journal import ImageIdentity, header_line, parse_journal
from seawall.repository.rescue.restore import damage_text, parse_damage_text
from seawall.repository.store.location import FolderLocation, LocationInvalid, parse_location
from seawall.repository.store.names import is_name
from support import format_samples as samples
from support.parser_target import Target

SHEET = RecoverySheet(b"\x66" * 32, samples.LINEAGE, samples.SECRETS.signing_public_key, "s3://vault/a?region=eu-1")
IDENTITY = ImageIdentity(samples.POINT, "vda", 1 << 30, "ab" * 32)
JOURNAL = (header_line(IDENTITY, 77) + "\n0\n1\n5\n12\n\ncomplete\n").encode()
DAMAGE = damage_text(samples.POINT, [Damage("vda", "v1/p/x", "gone", ((0, 512), (4096, 8192)))]).encode()
NAMES = (
    f"v1/p/default/3f/{'3f' * 16}.0",
    "v1/keys/default/1.controller",
    f"v1/m/default/{samples.VM}/{samples.POINT}",
    f"v1/a/{samples.POINT}/root-{'ab' * 32}",
    f"v1/c/epoch/000000000017-{samples.POINT}",
    "v1/c/condemned/000000000017-000000000003",
    "v1/c/export/000000000003-000000000017",
    "v1/c/trimmed/000000000017",
    "v1/c/open/000000000017-000000000003",
)
URLS = ("file:///srv/seawall", "s3://vault/a/b?endpoint=https://s3.example.net:9000&region=eu-1&ca_file=/etc/ca.pem")


def _text(body: bytes) -> str:
    return body.decode("utf-8", errors="replace")


def _recovery_key(body: bytes) -> None:
    secret = parse_recovery_key(_text(body))
    assert secret == b"\x66" * 32, "a mistyped key was taken for another one"


def _recovery_sheet(body: bytes) -> None:
    sheet = parse_recovery_sheet(_text(body))
    assert (sheet.secret_key, len(sheet.lineage_id), len(sheet.signing_public_key)) == (b"\x66" * 32, 16, 32)


def _recovery_material(body: bytes) -> None:
    assert parse_recovery_material(_text(body)).secret_key == b"\x66" * 32


def _journal(body: bytes) -> None:
    state = parse_journal(body)
    if state is not None:
        assert all(page >= 0 for page in state.pages)


def _damage(body: bytes) -> None:
    for damage in parse_damage_text(body):
        assert damage.length == sum(length for _, length in damage.ranges)


def _name(body: bytes) -> None:
    name = _text(body)
    is_name(name)
    pack, key, point, hand_in, epoch, condemned = (
        parse_pack_name(name),
        parse_key_name(name),
        parse_point_name(name),
        parse_hand_in_name(name),
        parse_epoch_name(name),
        parse_condemned_name(name),
    )
    export, trimmed, opened = parse_export_name(name), parse_trimmed_name(name), parse_open_name(name)
    if pack is not None:
        assert pack_name(pack.tenant, pack.pack_id, pack.generation) == name
    if key is not None:
        assert key_name(key.tenant, key.epoch, key.wrapper) == name
    if point is not None:
        makers = (manifest_name, refmap_name, tombstone_name)
        assert name in {make(point.tenant, point.vm_id, point.point_id) for make in makers}
    if hand_in is not None:
        kinds: tuple[HandInKind, ...] = ("root", "refmap", "log")
        assert name in {hand_in_name(hand_in.attempt_id, kind, hand_in.content_hash) for kind in kinds}
    if epoch is not None:
        assert epoch_name(*epoch) == name
    if condemned is not None:
        assert condemned_name(*condemned) == name
    if export is not None:
        assert export_name(*export) == name
    if trimmed is not None:
        assert trimmed_name(trimmed) == name
    if opened is not None:
        assert open_name(*opened) == name
    every = (pack, key, point, hand_in, epoch, condemned, export, trimmed, opened)
    parsed = [found for found in every if found is not None]
    assert len(parsed) <= 1 and (is_name(name) or not parsed)


def _location(body: bytes) -> None:
    found = parse_location(_text(body))
    if isinstance(found, FolderLocation):
        assert found.path.is_absolute() and ".." not in found.path.parts
    else:
        assert parse_location(found.url) == found


WORDS: dict[str, Target] = {
    "recovery key": Target((recovery_key_text(b"\x66" * 32).encode(),), _recovery_key, (WrongKey,)),
    "recovery sheet": Target(
        (render_recovery_sheet(SHEET).encode(),), _recovery_sheet, (WrongKey, IntegrityError, FormatUnsupported)
    ),
    "recovery file": Target(
        (render_recovery_sheet(SHEET).encode(), b"The key of this:\n\n" + recovery_key_text(b"\x66" * 32).encode()),
        _recovery_material,
        (WrongKey, IntegrityError, FormatUnsupported),
    ),
    "rescue journal": Target((JOURNAL,), _journal, ()),
    "rescue damage file": Target((DAMAGE,), _damage, ()),
    "object name": Target(tuple(name.encode() for name in NAMES), _name, ()),
    "store URL": Target(tuple(url.encode() for url in URLS), _location, (LocationInvalid,)),
}
