"""What jobs CHECK and HEAL need of the controller: the ledger behind their pipe, and the keys of the copy that heals."""

import json
from collections.abc import Mapping
from typing import Any

from seawall.controller.maintenance.job_ledger import LedgerScope
from seawall.controller.maintenance.ledger_calls import Calls
from seawall.controller.maintenance.verify_calls import verify_calls
from seawall.controller.maintenance.verify_ledger import VerifyLedger
from seawall.controller.records.maintenance import Job
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.transaction import Store
from seawall.repository.clock import Clock


class VerifyJobs:
    """Blocking, thread-safe."""

    def __init__(self, store: Store, repositories: RepositoryCatalogue, lease: LeaderLease, clock: Clock) -> None:
        self._store = store
        self._repositories = repositories
        self._lease = lease
        self._clock = clock

    def calls(self, job: Job, repository: OpenedRepository) -> Calls:
        return verify_calls(self.ledger(job, repository))

    def ledger(self, job: Job, repository: OpenedRepository) -> VerifyLedger:
        scope = LedgerScope(job.repository_id, job.id, 0, repository.mark)
        return VerifyLedger(self._store, scope, lambda: self._lease.current, self._clock, repository)

    def heal_settings(self, job: Job, repository: OpenedRepository) -> Mapping[str, Any]:
        """Secrets: for the worker's pipe and nothing else."""
        request = json.loads(job.request)
        keys = self._repositories.keys_of_copy(
            repository.record, request["source_url"], request.get("source_secret_id", "")
        )
        return {"source_credentials": keys}
