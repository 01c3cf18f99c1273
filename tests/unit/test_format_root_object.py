"""The shells of a root: who may open one, what a signature covers, and that no part can be moved elsewhere."""

from dataclasses import replace

import pytest

from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.crypto.signing import CONFIG_DOMAIN, sign
from seawall.repository.errors import IntegrityError, WrongKey
from seawall.repository.format.record import ChunkType
from seawall.repository.format.root import Root
from seawall.repository.format.root_object import (
    Statement,
    assemble_root,
    manifest_root,
    object_hash,
    open_manifest,
    open_root,
    root_front,
    root_names,
    seal_root,
    sign_manifest,
    unseal_data_key,
)
from support import format_samples as samples

SECRET = samples.SECRETS.repository_secret_key
SIGNING_KEY = samples.SECRETS.signing_public_key
OTHER_POINT = "6f1f7d3e-0000-4000-8000-00000000000f"


def sample_root() -> Root:
    stored = samples.record(b"node", 1, ChunkType.META)
    return samples.root(stored, samples.pack([stored]))


def signed(root_object: bytes) -> tuple[Statement, bytes]:
    statement = samples.statement(root_object, b"refmap")
    return statement, sign_manifest(statement, root_object, samples.SECRETS.signing_secret_key)


def test_the_repository_opens_what_an_agent_sealed() -> None:
    root = sample_root()
    root_object = seal_root(root, samples.PUBLIC_KEY)
    assert open_root(root_object, unseal_data_key(root_object, SECRET)) == root
    assert seal_root(root, samples.PUBLIC_KEY) != root_object  # a data key of its own each time


def test_another_key_is_told_from_damage() -> None:
    root_object = seal_root(sample_root(), samples.PUBLIC_KEY)
    with pytest.raises(WrongKey, match=samples.POINT):
        unseal_data_key(root_object, b"\x99" * 32)
    with pytest.raises(IntegrityError):
        open_root(root_object, b"\x99" * 32)
    with pytest.raises(IntegrityError):
        open_root(root_object, b"short")


def test_a_root_under_another_points_names_does_not_open() -> None:
    """An agent that may write one point must not pass its root off as another's: names are bound to key and body."""
    root = sample_root()
    other = replace(root, point_id=OTHER_POINT)
    mine, theirs = seal_root(root, samples.PUBLIC_KEY), seal_root(other, samples.PUBLIC_KEY)
    front, their_front = root_front(root, samples.PUBLIC_KEY), root_front(other, samples.PUBLIC_KEY)
    assert mine.startswith(front) and theirs.startswith(their_front)
    moved = their_front + mine[len(front) :]
    assert root_names(moved).point_id == OTHER_POINT
    with pytest.raises(IntegrityError):
        unseal_data_key(moved, SECRET)
    with pytest.raises(IntegrityError):
        open_root(moved, unseal_data_key(mine, SECRET))


def test_a_body_that_names_another_point_than_its_front_is_refused() -> None:
    """Even a writer who knows the data key cannot say one thing outside and another inside."""
    root = sample_root()
    front = root_front(replace(root, vm_id=OTHER_POINT), samples.PUBLIC_KEY)
    forged = assemble_root(root, front, bytes(80), samples.DATA_KEY, samples.nonce(1))
    with pytest.raises(IntegrityError, match="than its front"):
        open_root(forged, samples.DATA_KEY)


def test_manifests_open_with_the_controllers_key_alone() -> None:
    root_object = seal_root(sample_root(), samples.PUBLIC_KEY)
    statement, body = signed(root_object)
    assert open_manifest(body, SIGNING_KEY) == (statement, root_object)
    with pytest.raises(IntegrityError, match="signature"):
        open_manifest(body, public_key_of(b"\x01" * 32))


def test_a_signed_statement_carries_its_own_root_only() -> None:
    root_object, another = (seal_root(sample_root(), samples.PUBLIC_KEY) for _ in range(2))
    _, body = signed(root_object)
    with pytest.raises(IntegrityError, match="not the one that was signed"):
        open_manifest(body.replace(root_object, another), SIGNING_KEY)


def test_a_reader_without_the_signing_key_goes_by_a_hash_it_trusts() -> None:
    root_object = seal_root(sample_root(), samples.PUBLIC_KEY)
    _, body = signed(root_object)
    assert manifest_root(body, object_hash(body)) == root_object
    with pytest.raises(IntegrityError, match="not the one that was committed"):
        manifest_root(body[:-1], object_hash(body))


def test_a_signature_of_another_kind_does_not_count() -> None:
    root_object = seal_root(sample_root(), samples.PUBLIC_KEY)
    _, body = signed(root_object)
    front = body[: -len(root_object) - 64]
    with pytest.raises(IntegrityError, match="signature"):
        open_manifest(front + sign(samples.SECRETS.signing_secret_key, CONFIG_DOMAIN, front) + root_object, SIGNING_KEY)


def test_only_true_statements_are_signed() -> None:
    root_object = seal_root(sample_root(), samples.PUBLIC_KEY)
    statement = samples.statement(root_object, b"refmap")
    for false in (
        replace(statement, root_hash=object_hash(b"other")),
        replace(statement, point_id=OTHER_POINT),
        replace(statement, tenant="other"),
        replace(statement, lineage_id=b"x" * 16),
        replace(statement, key_epoch=2),
    ):
        with pytest.raises(ValueError):
            sign_manifest(false, root_object, samples.SECRETS.signing_secret_key)
