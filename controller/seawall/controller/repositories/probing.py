"""`repo probe`: what the store of a repository that was added promises now, and how fast it is. What is found is remembered."""

from dataclasses import dataclass, replace

import structlog

from seawall.controller.records.catalogue import RepositoryRecord
from seawall.controller.repositories.add import capabilities_of, probe_client
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.outside import told_adding
from seawall.controller.store.transaction import Store as Database
from seawall.repository.clock import Clock
from seawall.repository.store.s3 import S3Store
from seawall.repository.store.survey import Survey, survey

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RepositoryProber:
    """Blocking, thread-safe."""

    database: Database
    catalogue: RepositoryCatalogue
    clock: Clock

    def probe(self, record: RepositoryRecord) -> Survey:
        """Raises FailedPrecondition/STORE_UNSAFE, BUCKET_MISSING, BUCKET_REFUSED, BUCKET_UNREACHABLE, STORE_FULL."""
        with told_adding():
            store = self.catalogue.bare_store_of_repository(record)
            with probe_client(store, record.url) as transfer:
                found = survey(store, transfer, self.clock, store if isinstance(store, S3Store) else None)
        known = capabilities_of(found.capabilities)
        self.database.write_now(lambda transaction: transaction.repositories.set_capabilities(record.id, known))
        self.catalogue.learnt(replace(record, capabilities=known))
        _log.info("repository.probed", repository=record.name, warnings=known.warnings)
        return found
