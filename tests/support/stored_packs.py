"""What the catalogue calls STORED, for tests that look at all of it."""

from seawall.controller.records.catalogue import Pack, PackState
from seawall.controller.store.transaction import Transaction


def stored_packs(transaction: Transaction, repository_id: str) -> list[Pack]:
    """By id; small repositories only."""
    return [pack for pack in transaction.packs.pack_page(repository_id, b"", 10_000) if pack.state is PackState.STORED]
