"""Exports in a store: the newest that opens, and a new one in its place. Called by the controller (leader, and recovery)."""

from dataclasses import dataclass

from seawall.repository.bounded import read_bounded
from seawall.repository.errors import FormatUnsupported, IntegrityError, ObjectMissing, StoreRefused
from seawall.repository.format.export import LONGEST_DOCUMENT_BYTES, open_export, seal_export
from seawall.repository.format.layout import EXPORTS_PREFIX, export_name, parse_export_name
from seawall.repository.naming import naming
from seawall.repository.repository import OpenRepository
from seawall.repository.store.port import Store

KEPT = 8
"""So many of the newest stay: one that is damaged, or that a mistake emptied, has others before it."""

_OVERHEAD_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class FoundExport:
    """One that opened. `passed_over`: sentences about newer ones that did not."""

    name: str
    exported_us: int
    document: bytes
    passed_over: tuple[str, ...] = ()


def export_numbers(store: Store) -> list[tuple[int, int]]:
    """(epoch, number) of each, the newest first."""
    found = (parse_export_name(info.name) for info in store.list(EXPORTS_PREFIX))
    return sorted((each for each in found if each is not None), reverse=True)


def newest_export(repository: OpenRepository) -> FoundExport | None:
    """None: there is none that opens. Raises what the store raises."""
    passed_over: list[str] = []
    for number in export_numbers(repository.store):
        name = export_name(*number)
        try:
            found = _read(repository, name, number)
        except (ObjectMissing, IntegrityError, FormatUnsupported) as error:
            passed_over.append(str(error))
            continue
        return FoundExport(name, found.exported_us, found.document, tuple(passed_over))
    return None


def later_exports(repository: OpenRepository, known: tuple[int, int]) -> tuple[FoundExport | None, tuple[str, ...]]:
    """(The newest that opens and is not older than (epoch, number) `known`, sentences about those beyond it that do not open).

    The known one itself may be damaged: whoever knows it needs it no more. Raises what the store raises.
    """
    unread: list[str] = []
    for number in export_numbers(repository.store):
        if number < known:
            break
        try:
            return _read(repository, export_name(*number), number), tuple(unread)
        except (ObjectMissing, IntegrityError, FormatUnsupported) as error:
            if number > known:
                unread.append(str(error))
    return None, tuple(unread)


def _read(repository: OpenRepository, name: str, number: tuple[int, int]) -> FoundExport:
    with naming(name):
        body = read_bounded(repository.store, name, LONGEST_DOCUMENT_BYTES + _OVERHEAD_BYTES)
        front, document = open_export(body, repository.secrets.repository_secret_key)
        if front.lineage_id != repository.config.lineage_id or (front.epoch, front.number) != number:
            raise IntegrityError("an export of another name or repository")
    return FoundExport(name, front.exported_us, document)


def put_export(repository: OpenRepository, epoch: int, number: int, document: bytes, exported_us: int) -> str:
    """Its name. Raises ObjectExists when another one has it, and what the store raises."""
    repository.require_writable()
    name = export_name(epoch, number)
    body = seal_export(
        document,
        lineage_id=repository.config.lineage_id,
        epoch=epoch,
        number=number,
        exported_us=exported_us,
        repository_secret_key=repository.secrets.repository_secret_key,
    )
    repository.store.put(name, body, create_only=True)
    return name


def trim_exports(store: Store, written: str) -> int:
    """Removes what is older than the newest ones up to `written`, the caller's last; how many. Whatever has a greater name counts for
    nothing: it may be rubbish, and is no reason to remove an export that opens. What the store will not let go stays until the next time.
    """
    newest = parse_export_name(written)
    if newest is None:
        raise ValueError(f"{written} is no export")
    spent = [number for number in export_numbers(store) if number <= newest][KEPT:]
    gone = 0
    for number in spent:
        try:
            store.delete(export_name(*number))
            gone += 1
        except StoreRefused:
            continue
    return gone
