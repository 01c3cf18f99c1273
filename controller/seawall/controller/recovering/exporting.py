"""The document of an export, from the database and back. It holds no time of its own: what did not change has the same bytes."""

from seawall.controller.database.columns import dump, load
from seawall.controller.records.catalogue import RepositoryRecord
from seawall.controller.records.known import (
    Export,
    KnownApart,
    KnownLimit,
    KnownPolicy,
    KnownRepository,
    Settled,
)
from seawall.controller.recovering.packing import pack_points
from seawall.controller.recovering.users import known_user
from seawall.controller.store.transaction import Transaction
from seawall.repository.errors import IntegrityError


def settled(transaction: Transaction, cluster_id: str) -> Settled:
    """What operators decided, and who joined."""
    policies = transaction.policies.policies(deleted=True)
    return Settled(
        cluster_id=cluster_id,
        repositories=tuple(_repository(each) for each in transaction.repositories.repositories()),
        hosts=tuple(transaction.known.hosts()),
        policies=tuple(
            KnownPolicy(
                each.id,
                each.revision,
                each.spec,
                each.repository_id,
                each.created_us,
                each.changed_us,
                each.deleted_us,
            )
            for each in policies
        ),
        limits=tuple(KnownLimit(*each) for each in transaction.limits.limits()),
        apart=tuple(KnownApart(*each) for each in transaction.limits.apart()),
        settings=tuple(transaction.known.settings()),
        holds=tuple(transaction.known.holds()),
        users=tuple(known_user(each) for each in transaction.users.users(removed=True)),
    )


def whole(transaction: Transaction, repository: RepositoryRecord, found: Settled) -> Export:
    """With all that grows by itself."""
    points = pack_points(transaction.known.points(repository.id))
    return Export(repository.id, repository.name, found, tuple(transaction.known.vms()), points)


def document_of(export: Export) -> bytes:
    return dump(export).encode()


def export_of(document: bytes) -> Export:
    """What `document_of` wrote, whatever version did. Raises IntegrityError: it is a controller's, but of a shape that nobody knows."""
    try:
        return load(Export, document.decode())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise IntegrityError(f"export: its document cannot be understood: {error}") from error


def _repository(record: RepositoryRecord) -> KnownRepository:
    return KnownRepository(record.id, record.name, record.url)
