"""The STORED packs of a repository, page by page: there may be millions. For its opening, while nobody else changes them."""

from collections.abc import Iterator, Sequence

from seawall.controller.records.catalogue import Pack, PackState
from seawall.controller.store.transaction import Store, Transaction

PAGE = 5000


def stored_packs(database: Store, repository_id: str) -> Iterator[Pack]:
    """In order of id."""
    after = b""

    def closure(transaction: Transaction) -> Sequence[Pack]:
        return transaction.packs.pack_page(repository_id, after, PAGE)

    while page := database.read_now(closure):
        yield from (pack for pack in page if pack.state is PackState.STORED)
        after = page[-1].id
