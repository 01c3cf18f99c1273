"""VMs that change their hosts."""

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa

from seawall.controller.database.tables import vm_claims, vm_moves, vms
from seawall.controller.records.moves import Claim, Move
from seawall.repository.batches import in_batches

MOST_KEPT = 64
"""Of a VM: hosts that took it from each other all the time would fill the database."""


class MoveRows:
    """`Moves` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def owners_elsewhere(self, host_id: str, vm_ids: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for ids in in_batches(vm_ids):
            query = sa.select(vms.c.id, vms.c.host_id).where(vms.c.id.in_(ids), vms.c.host_id != host_id)
            found.update({row.id: row.host_id for row in self._connection.execute(query)})
        return found

    def of_vm(self, vm_id: str) -> Sequence[Move]:
        return self._moves(vm_moves.c.vm_id == vm_id)

    def departures(self, host_id: str) -> Sequence[Move]:
        return self._moves(vm_moves.c.from_host == host_id, vm_moves.c.to_host == "")

    def save(self, move: Move) -> None:
        self.drop(move.id)
        self._connection.execute(sa.insert(vm_moves).values(**asdict(move)))
        kept = sa.select(vm_moves.c.id).where(vm_moves.c.vm_id == move.vm_id).order_by(vm_moves.c.id.desc())
        for old in in_batches(self._connection.execute(kept.offset(MOST_KEPT).limit(MOST_KEPT)).scalars().all()):
            self._connection.execute(sa.delete(vm_moves).where(vm_moves.c.id.in_(old)))

    def drop(self, move_id: str) -> None:
        self._connection.execute(sa.delete(vm_moves).where(vm_moves.c.id == move_id))

    def claims(self, vm_id: str) -> Sequence[Claim]:
        query = sa.select(vm_claims).where(vm_claims.c.vm_id == vm_id).order_by(vm_claims.c.host_id)
        return [Claim(**row._mapping) for row in self._connection.execute(query)]

    def claim(self, claim: Claim) -> None:
        self.drop_claim(claim.vm_id, claim.host_id)
        self._connection.execute(sa.insert(vm_claims).values(**asdict(claim)))

    def drop_claim(self, vm_id: str, host_id: str) -> None:
        self._connection.execute(sa.delete(vm_claims).where(vm_claims.c.vm_id == vm_id, vm_claims.c.host_id == host_id))

    def _moves(self, *conditions: sa.ColumnElement[bool]) -> Sequence[Move]:
        query = sa.select(vm_moves).where(*conditions).order_by(vm_moves.c.id)
        return [Move(**row._mapping) for row in self._connection.execute(query)]
