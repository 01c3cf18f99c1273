"""Hosts that may speak no more: the operator's order. What holds it is a column that every call of an agent asks for."""

import asyncio

import structlog

from seawall.api.v1 import resources_pb2
from seawall.controller.enrolment.port import EnrolmentStore
from seawall.controller.records.answers import Asked
from seawall.controller.records.fleet import Host
from seawall.controller.services.convert_fleet import host_message
from seawall.controller.services.naming import find_host
from seawall.controller.services.once import Once
from seawall.controller.services.views import host_views
from seawall.controller.store.transaction import Store, Transaction
from seawall.repository.clock import Clock

_log = structlog.get_logger()


class Revoking:
    """Belongs to one event loop."""

    def __init__(self, store: Store, enrolments: EnrolmentStore, once: Once, clock: Clock) -> None:
        self._store = store
        self._enrolments = enrolments
        self._once = once
        self._clock = clock

    async def revoke(self, asked: Asked, text: str) -> resources_pb2.Host:
        """For ever; repeatable. Its runs end when its lease does. Raises NotFound/HOST_UNKNOWN, InvalidArgument/AMBIGUOUS."""

        async def act() -> str:
            host = await self._store.read(lambda transaction: find_host(transaction, text))
            await asyncio.to_thread(self._enrolments.revoke_agent, host.id)
            _log.warning("host.revoked", host=host.id, name=host.name)
            return host.id

        host_id = await self._once.around(asked, act)
        return await self._store.read(lambda transaction: self._shown(transaction, host_id))

    def _shown(self, transaction: Transaction, host_id: str) -> resources_pb2.Host:
        host: Host = find_host(transaction, host_id)
        (view,) = host_views(transaction, [host], self._clock.now_us(), listening_us=0)  # revoked: offline anyway
        return host_message(view)
