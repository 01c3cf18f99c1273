"""Exports: sealed for whoever holds the repository's secret key, the newest one that opens counts, few are kept."""

import random
from pathlib import Path

import pytest

from seawall.repository.crypto.keys import RepositorySecrets, new_secret, new_secrets
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.errors import FormatUnsupported, IntegrityError, ObjectExists
from seawall.repository.exports import KEPT, export_numbers, newest_export, put_export, trim_exports
from seawall.repository.format.export import open_export, seal_export
from seawall.repository.format.layout import export_name
from seawall.repository.repository import OpenRepository, create_repository
from seawall.repository.store.folder import FolderStore

LINEAGE = bytes(range(16))
DOCUMENT = b'{"policies":["nightly"]}' * 100


def sealed(secret_key: bytes, document: bytes = DOCUMENT) -> bytes:
    return seal_export(document, lineage_id=LINEAGE, epoch=3, number=7, exported_us=5, repository_secret_key=secret_key)


@pytest.fixture
def repository(tmp_path: Path) -> OpenRepository:
    (tmp_path / "bucket").mkdir()
    secrets: RepositorySecrets = new_secrets()
    recipients = {"controller": public_key_of(new_secret()), "recovery": public_key_of(new_secret())}
    return create_repository(
        FolderStore(tmp_path / "bucket"),
        lineage_id=LINEAGE,
        chunk_nominal_bytes=65536,
        recipients=recipients,
        secrets=secrets,
    )


def test_what_was_sealed_is_opened() -> None:
    secret_key = new_secret()
    front, document = open_export(sealed(secret_key), secret_key)
    assert document == DOCUMENT
    assert (front.lineage_id, front.epoch, front.number, front.exported_us) == (LINEAGE, 3, 7, 5)
    assert sealed(secret_key) != sealed(secret_key), "a key and a nonce of its own for each"


def test_another_key_and_any_altered_byte_are_refused() -> None:
    secret_key = new_secret()
    body = sealed(secret_key)
    with pytest.raises(IntegrityError):
        open_export(body, new_secret())
    chance = random.Random(1)
    places = [*range(60), *(chance.randrange(len(body)) for _ in range(100)), len(body) - 1]
    for at in places:
        altered = bytearray(body)
        altered[at] ^= 1 << chance.randrange(8)
        with pytest.raises((IntegrityError, FormatUnsupported)):
            open_export(bytes(altered), secret_key)
    for length in (0, 15, 20, 100, len(body) - 1):
        with pytest.raises(IntegrityError):
            open_export(body[:length], secret_key)


def test_nothing_and_a_wrong_lineage_are_not_sealed() -> None:
    with pytest.raises(ValueError, match="export"):
        sealed(new_secret(), b"")


def test_the_greatest_epoch_and_number_count(repository: OpenRepository) -> None:
    for epoch, number in ((2, 1), (10, 1), (9, 999), (10, 2), (3, 5)):
        put_export(repository, epoch, number, f"{epoch}/{number}".encode(), 1)
    found = newest_export(repository)
    assert found is not None and found.document == b"10/2"
    with pytest.raises(ObjectExists):
        put_export(repository, 10, 2, b"another", 1)


def test_one_that_does_not_open_is_passed_over(repository: OpenRepository) -> None:
    assert newest_export(repository) is None
    put_export(repository, 1, 1, b"whole", 1)
    name = put_export(repository, 1, 2, b"to be moved", 1)
    repository.store.put(export_name(1, 3), repository.store.get(name))
    repository.store.put(export_name(1, 4), b"SEAWEXPT and nothing else")
    repository.store.delete(name)
    found = newest_export(repository)
    assert found is not None and found.document == b"whole"
    assert len(found.passed_over) == 2


def test_few_are_kept(repository: OpenRepository) -> None:
    names = [put_export(repository, 1, number + 1, b"x", 1) for number in range(KEPT + 5)]
    assert trim_exports(repository.store, names[-1]) == 5
    assert export_numbers(repository.store) == [(1, number) for number in range(KEPT + 5, 5, -1)]
    assert trim_exports(repository.store, names[-1]) == 0


def test_rubbish_under_greater_names_costs_no_export(repository: OpenRepository) -> None:
    for number in range(KEPT + 2):
        repository.store.put(export_name(999, number), b"rubbish")
    name = put_export(repository, 1, 1, b"the only one", 1)
    assert trim_exports(repository.store, name) == 0
    found = newest_export(repository)
    assert found is not None and found.document == b"the only one"
