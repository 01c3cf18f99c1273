"""Hosts, sessions and VMs."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from seawall.controller.database.columns import dump, load_tuple
from seawall.controller.database.names import named
from seawall.controller.database.tables import agents, hosts, sessions, vms
from seawall.controller.records.fleet import Host, Session, Vm, VmDisk

HOSTS = sa.select(hosts, agents.c.certificate_expires_us, agents.c.status).join(agents, agents.c.id == hosts.c.id)
RUNNING = "running"


class FleetRows:
    """`Fleet` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def host(self, host_id: str) -> Host | None:
        row = self._connection.execute(HOSTS.where(hosts.c.id == host_id)).one_or_none()
        return None if row is None else _host(row)

    def hosts(self, after: str = "", limit: int = 1000) -> Sequence[Host]:
        page = HOSTS.where(hosts.c.id > after).order_by(hosts.c.id).limit(limit)
        return [_host(row) for row in self._connection.execute(page)]

    def hosts_named(self, text: str) -> Sequence[Host]:
        return [_host(row) for row in self._connection.execute(named(HOSTS, text, hosts.c.id, hosts.c.name))]

    def describe_host(self, host_id: str, name: str, agent_version: str, hypervisor_version: str) -> None:
        values = {"name": name, "agent_version": agent_version, "hypervisor_version": hypervisor_version}
        self._connection.execute(sa.update(hosts).where(hosts.c.id == host_id).values(**values))

    def bump_generation(self, host_id: str) -> None:
        changed = sa.update(hosts).where(hosts.c.id == host_id).values(generation=hosts.c.generation + 1)
        self._connection.execute(changed)

    def session(self, agent_id: str) -> Session | None:
        row = self._connection.execute(sa.select(sessions).where(sessions.c.agent_id == agent_id)).one_or_none()
        return None if row is None else Session(**row._mapping)

    def sessions(self) -> Sequence[Session]:
        return [Session(**row._mapping) for row in self._connection.execute(sa.select(sessions))]

    def open_session(self, session: Session) -> None:
        self._connection.execute(sa.delete(sessions).where(sessions.c.agent_id == session.agent_id))
        values = {name: getattr(session, name) for name in sessions.c.keys()}
        self._connection.execute(sa.insert(sessions).values(**values))

    def renew_session(self, agent_id: str, session_id: str, lease_until_us: int, now_us: int) -> None:
        self._connection.execute(
            sa.update(sessions)
            .where(sessions.c.agent_id == agent_id, sessions.c.session_id == session_id)
            .values(lease_until_us=lease_until_us, last_seen_us=now_us)
        )

    def vm(self, vm_id: str) -> Vm | None:
        row = self._connection.execute(sa.select(vms).where(vms.c.id == vm_id)).one_or_none()
        return None if row is None else _vm(row)

    def vms(self, host_id: str = "", after: str = "", limit: int = 1000) -> Sequence[Vm]:
        page = sa.select(vms).where(vms.c.id > after).order_by(vms.c.id).limit(limit)
        if host_id:
            page = page.where(vms.c.host_id == host_id)
        return [_vm(row) for row in self._connection.execute(page)]

    def vms_named(self, text: str) -> Sequence[Vm]:
        return [_vm(row) for row in self._connection.execute(named(sa.select(vms), text, vms.c.id, vms.c.name))]

    def vm_counts(self) -> dict[str, int]:
        counts = sa.select(vms.c.host_id, sa.func.count()).where(vms.c.present == 1).group_by(vms.c.host_id)
        return {row[0]: row[1] for row in self._connection.execute(counts)}

    def vm_count(self) -> int:
        return self._connection.execute(sa.select(sa.func.count()).select_from(vms)).scalar_one()

    def replace_inventory(self, host_id: str, revision: int, reported: Iterable[Vm]) -> Sequence[str]:
        gone = sa.update(vms).where(vms.c.host_id == host_id).values(present=0)
        self._connection.execute(gone)
        return [vm.id for vm in reported if self._report(host_id, revision, vm)]

    def _report(self, host_id: str, revision: int, vm: Vm) -> bool:
        """Whether it was another host's until now."""
        values: dict[str, Any] = {
            "host_id": host_id,
            "name": vm.name,
            "state": vm.state,
            "disks": dump(vm.disks),
            "inventory_revision": revision,
            "last_seen_us": vm.last_seen_us,
            "present": 1,
        }
        known = self.vm(vm.id)
        if known is None:
            self._connection.execute(sa.insert(vms).values(id=vm.id, **values))
            return False
        if known.host_id != host_id and not self._may_take(vm, known):
            return False
        self._connection.execute(sa.update(vms).where(vms.c.id == vm.id).values(**values))
        return known.host_id != host_id

    def _may_take(self, vm: Vm, known: Vm) -> bool:
        """A VM that two hosts define belongs to the one that runs it, else to the one that had it. A host that is away runs nothing that
        another one runs."""
        if not known.present:
            return True
        owner = self.session(known.host_id)
        away = owner is None or owner.lease_until_us <= vm.last_seen_us
        return vm.state == RUNNING and (known.state != RUNNING or away)


def _host(row: sa.Row[Any]) -> Host:
    return Host(
        id=row.id,
        name=row.name,
        agent_version=row.agent_version,
        hypervisor_version=row.hypervisor_version,
        generation=row.generation,
        certificate_expires_us=row.certificate_expires_us,
        revoked=row.status != "ACTIVE",
    )


def _vm(row: sa.Row[Any]) -> Vm:
    disks = load_tuple(VmDisk, row.disks)
    return Vm(row.id, row.name, row.host_id, row.state, disks, row.last_seen_us, bool(row.present))
