"""Opening a committed point that the controller granted: proven by hash, signature and key before anything in it is believed."""

from blake3 import blake3

from seawall.agent.control.messages import PointGrant
from seawall.repository.errors import IntegrityError
from seawall.repository.format.manifest import Root
from seawall.repository.format.root_object import manifest_root, open_manifest, open_root
from seawall.repository.store.port import SignedTransfer


def signed_root(grant: PointGrant, signing_public_key: bytes, transfer: SignedTransfer) -> Root:
    """The root of a point that will be restored. Raises IntegrityError, FormatUnsupported and the transfer's errors."""
    _, root_object = open_manifest(_fetched(grant, transfer), signing_public_key)
    return _named(open_root(root_object, grant.data_key), grant)


def parent_root(grant: PointGrant, transfer: SignedTransfer) -> Root:
    """The root of the parent point. Its bytes are those that the controller named by hash, so its signature proves nothing more here."""
    return _named(open_root(manifest_root(transfer.get(grant.url), grant.m_hash), grant.data_key), grant)


def _fetched(grant: PointGrant, transfer: SignedTransfer) -> bytes:
    body = transfer.get(grant.url)
    if blake3(body).digest() != grant.m_hash:
        raise IntegrityError(f"the manifest of point {grant.point_id} in the store is not the one that was committed")
    return body


def _named(root: Root, grant: PointGrant) -> Root:
    if root.point_id != grant.point_id:
        raise IntegrityError(f"the manifest of point {grant.point_id} is that of point {root.point_id}")
    return root
