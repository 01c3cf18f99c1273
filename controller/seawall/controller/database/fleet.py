"""Hosts, sessions and VMs."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from seawall.controller.database.columns import dump, load_tuple
from seawall.controller.database.names import named
from seawall.controller.database.tables import agents, hosts, sessions, vms
from seawall.controller.records.fleet import Host, Session, Vm, VmDisk
from seawall.controller.records.limits import Service
from seawall.repository.batches import in_batches

HOSTS = sa.select(hosts, agents.c.certificate_expires_us, agents.c.status).join(agents, agents.c.id == hosts.c.id)
RUNNING = "running"
UNSEEN = ("inventory_revision", "last_seen_us")
"""Columns of a VM that change with each report and mean nothing to the scheduler."""


class FleetRows:
    """`Fleet` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def host(self, host_id: str) -> Host | None:
        row = self._connection.execute(HOSTS.where(hosts.c.id == host_id)).one_or_none()
        return None if row is None else _host(row)

    def hosts(self, after: str = "", limit: int = 1000) -> Sequence[Host]:
        page = HOSTS.where(hosts.c.id > after).order_by(hosts.c.id).limit(limit)
        return [_host(row) for row in self._connection.execute(page).all()]

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
        columns = (sessions.c[field.name] for field in dataclasses.fields(Session))
        return [Session(*row) for row in self._connection.execute(sa.select(*columns)).all()]

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
        present = sa.select(vms.c.id).where(vms.c.host_id == host_id, vms.c.present == 1)
        before = set(self._connection.execute(present).scalars())
        change = self._connection.execute(sa.select(sa.func.coalesce(sa.func.max(vms.c.change), 0))).scalar_one() + 1
        named: set[str] = set()
        taken = []
        for vm in reported:
            named.add(vm.id)
            if self._report(host_id, revision, vm, change):
                taken.append(vm.id)
        for gone in in_batches(sorted(before - named)):
            self._connection.execute(sa.update(vms).where(vms.c.id.in_(gone)).values(present=0, change=change))
        return taken

    def vms_since(self, change: int) -> Sequence[tuple[Vm, int]]:
        query = sa.select(vms).where(vms.c.change >= change).order_by(vms.c.change)
        return [(_vm(row), row.change) for row in self._connection.execute(query).all()]

    def set_service(self, host_id: str, service: Service) -> None:
        self._connection.execute(sa.update(hosts).where(hosts.c.id == host_id).values(drain=service.value))

    def set_site(self, host_id: str, site: str) -> None:
        self._connection.execute(sa.update(hosts).where(hosts.c.id == host_id).values(site=site))

    def _report(self, host_id: str, revision: int, vm: Vm, change: int) -> bool:
        """Whether it was another host's until now."""
        values: dict[str, Any] = {
            "host_id": host_id,
            "name": vm.name,
            "state": vm.state,
            "disks": dump(vm.disks),
            "inventory_revision": revision,
            "last_seen_us": vm.last_seen_us,
            "present": 1,
            "tags": dump(vm.tags),
        }
        row = self._connection.execute(sa.select(vms).where(vms.c.id == vm.id)).one_or_none()
        if row is None:
            self._connection.execute(sa.insert(vms).values(id=vm.id, change=change, **values))
            return False
        known = _vm(row)
        if known.host_id != host_id and not self._may_take(vm, known):
            return False
        if any(row._mapping[name] != value for name, value in values.items() if name not in UNSEEN):
            values["change"] = change
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
        site=row.site,
        service=Service(row.drain),
    )


def _vm(row: sa.Row[Any]) -> Vm:
    disks = load_tuple(VmDisk, row.disks)
    tags = tuple(json.loads(row.tags))
    return Vm(row.id, row.name, row.host_id, row.state, disks, row.last_seen_us, bool(row.present), tags)
