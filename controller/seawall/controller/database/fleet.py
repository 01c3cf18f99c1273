"""Hosts, sessions and VMs."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from seawall.controller.database.columns import dump, load_tuple
from seawall.controller.database.names import named
from seawall.controller.database.plain_rows import pairs, plain_rows
from seawall.controller.database.tables import agents, hosts, sessions, vms
from seawall.controller.records.fleet import Host, News, Session, Vm, VmDisk
from seawall.controller.records.limits import Service
from seawall.repository.batches import in_batches

HOSTS = sa.select(
    hosts.c.id,
    hosts.c.name,
    hosts.c.agent_version,
    hosts.c.hypervisor_version,
    hosts.c.generation,
    agents.c.certificate_expires_us,
    agents.c.status,
    hosts.c.site,
    hosts.c.drain,
).join(agents, agents.c.id == hosts.c.id)
"""In the order in which `_host` takes them."""
RENEW = sa.update(sessions).where(
    sessions.c.agent_id == sa.bindparam("agent"), sessions.c.session_id == sa.bindparam("session")
)
CHANGE = sa.update(vms).where(vms.c.id == sa.bindparam("vm"))
SERVICES = {service.value: service for service in Service}
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
        return [_host(row) for row in plain_rows(self._connection, page)]

    def enrolled(self) -> frozenset[str]:
        rows = plain_rows(self._connection, sa.select(agents.c.id).where(agents.c.status == "ACTIVE"))
        return frozenset(row[0] for row in rows)

    def host_names(self) -> dict[str, str]:
        return dict(plain_rows(self._connection, sa.select(hosts.c.id, hosts.c.name)))

    def hosts_named(self, text: str) -> Sequence[Host]:
        return [_host(row) for row in self._connection.execute(named(HOSTS, text, hosts.c.id, hosts.c.name))]

    def describe_host(self, host_id: str, name: str, agent_version: str, hypervisor_version: str) -> None:
        values = {"name": name, "agent_version": agent_version, "hypervisor_version": hypervisor_version}
        self._connection.execute(sa.update(hosts).where(hosts.c.id == host_id).values(**values))

    def bump_generation(self, host_id: str) -> None:
        changed = sa.update(hosts).where(hosts.c.id == host_id).values(generation=hosts.c.generation + 1)
        self._connection.execute(changed)

    def generations(self) -> dict[str, int]:
        return pairs(self._connection, sa.select(hosts.c.id, hosts.c.generation))

    def generations_of(self, host_ids: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for ids in in_batches(host_ids):
            found |= pairs(self._connection, sa.select(hosts.c.id, hosts.c.generation).where(hosts.c.id.in_(ids)))
        return found

    def session(self, agent_id: str) -> Session | None:
        row = self._connection.execute(sa.select(sessions).where(sessions.c.agent_id == agent_id)).one_or_none()
        return None if row is None else Session(**row._mapping)

    def sessions(self) -> Sequence[Session]:
        columns = (sessions.c[field.name] for field in dataclasses.fields(Session))
        return [Session(*row) for row in plain_rows(self._connection, sa.select(*columns))]

    def open_session(self, session: Session) -> None:
        self._connection.execute(sa.delete(sessions).where(sessions.c.agent_id == session.agent_id))
        values = {name: getattr(session, name) for name in sessions.c.keys()}
        self._connection.execute(sa.insert(sessions).values(**values))

    def sessions_of(self, agent_ids: Sequence[str]) -> Sequence[Session]:
        columns = [sessions.c[field.name] for field in dataclasses.fields(Session)]
        found: list[Session] = []
        for ids in in_batches(agent_ids):
            some = sa.select(*columns).where(sessions.c.agent_id.in_(ids))
            found += [Session(*row) for row in plain_rows(self._connection, some)]
        return found

    def renew_sessions(self, known: Sequence[tuple[str, str]], lease_until_us: int, now_us: int) -> None:
        if known:
            values = {"lease_until_us": lease_until_us, "last_seen_us": now_us}
            self._connection.execute(
                RENEW, [values | {"agent": agent_id, "session": session_id} for agent_id, session_id in known]
            )

    def vm(self, vm_id: str) -> Vm | None:
        row = self._connection.execute(sa.select(vms).where(vms.c.id == vm_id)).one_or_none()
        return None if row is None else _vm(row)

    def vms(self, host_id: str = "", after: str = "", limit: int = 1000) -> Sequence[Vm]:
        page = sa.select(vms).where(vms.c.id > after).order_by(vms.c.id).limit(limit)
        if host_id:
            page = page.where(vms.c.host_id == host_id)
        return [_vm(row) for row in self._connection.execute(page)]

    def sightings(self) -> Sequence[tuple[str, str, str, frozenset[str]]]:
        columns = (vms.c.id, vms.c.name, vms.c.host_id, vms.c.tags)
        rows = plain_rows(self._connection, sa.select(*columns).where(vms.c.present == 1))
        tags = {text: frozenset(json.loads(text)) for text in {row[3] for row in rows}}
        return [(vm_id, name, host_id, tags[text]) for vm_id, name, host_id, text in rows]

    def vms_named(self, text: str) -> Sequence[Vm]:
        return [_vm(row) for row in self._connection.execute(named(sa.select(vms), text, vms.c.id, vms.c.name))]

    def vm_counts(self) -> dict[str, int]:
        counts = sa.select(vms.c.host_id, sa.func.count()).where(vms.c.present == 1).group_by(vms.c.host_id)
        return {row[0]: row[1] for row in self._connection.execute(counts)}

    def vm_count(self) -> int:
        return self._connection.execute(sa.select(sa.func.count()).select_from(vms)).scalar_one()

    def replace_inventory(self, host_id: str, revision: int, reported: Iterable[Vm]) -> News:
        present = sa.select(vms.c.id).where(vms.c.host_id == host_id, vms.c.present == 1)
        before = set(self._connection.execute(present).scalars())
        change = self._connection.execute(sa.select(sa.func.coalesce(sa.func.max(vms.c.change), 0))).scalar_one() + 1
        every = {vm.id: vm for vm in reported}
        known = self._rows(list(every))
        same: dict[int, list[str]] = {}
        new, others, taken = [], [], []
        for vm in every.values():
            row, values = known.get(vm.id), _reported(host_id, revision, vm)
            if row is None:
                new.append(values | {"id": vm.id, "change": change})
            elif row.host_id != host_id and not self._may_take(vm, _vm(row)):
                continue
            elif all(row._mapping[name] == value for name, value in values.items() if name not in UNSEEN):
                same.setdefault(vm.last_seen_us, []).append(vm.id)
            else:
                others.append(values | {"vm": vm.id, "change": change})
                if row.host_id != host_id:
                    taken.append(vm.id)
        if new:
            self._connection.execute(sa.insert(vms), new)
        if others:
            self._connection.execute(CHANGE, others)
        self._seen_again(same, revision)
        gone = sorted(before - every.keys())
        for ids in in_batches(gone):
            self._connection.execute(sa.update(vms).where(vms.c.id.in_(ids)).values(present=0, change=change))
        return News(tuple(taken), bool(new or others or gone))

    def _seen_again(self, same: Mapping[int, Sequence[str]], revision: int) -> None:
        """When -> VMs that are as they were: what most reports are about."""
        for last_seen_us, vm_ids in same.items():
            for ids in in_batches(vm_ids):
                again = sa.update(vms).where(vms.c.id.in_(ids))
                self._connection.execute(again.values(inventory_revision=revision, last_seen_us=last_seen_us))

    def _rows(self, vm_ids: Sequence[str]) -> dict[str, sa.Row[Any]]:
        found: dict[str, sa.Row[Any]] = {}
        for ids in in_batches(vm_ids):
            found |= {row.id: row for row in self._connection.execute(sa.select(vms).where(vms.c.id.in_(ids)))}
        return found

    def vms_of(self, vm_ids: Sequence[str]) -> Sequence[Vm]:
        return [_vm(row) for row in self._rows(vm_ids).values()]

    def vm_changes(self, since: int) -> dict[str, int]:
        return pairs(self._connection, sa.select(vms.c.id, vms.c.change).where(vms.c.change >= since))

    def set_service(self, host_id: str, service: Service) -> None:
        self._connection.execute(sa.update(hosts).where(hosts.c.id == host_id).values(drain=service.value))

    def set_site(self, host_id: str, site: str) -> None:
        self._connection.execute(sa.update(hosts).where(hosts.c.id == host_id).values(site=site))

    def _may_take(self, vm: Vm, known: Vm) -> bool:
        """A VM that two hosts define belongs to the one that runs it, else to the one that had it. A host that is away runs nothing that
        another one runs."""
        if not known.present:
            return True
        owner = self.session(known.host_id)
        away = owner is None or owner.lease_until_us <= vm.last_seen_us
        return vm.state == RUNNING and (known.state != RUNNING or away)


def _host(row: Sequence[Any]) -> Host:
    host_id, name, agent_version, hypervisor_version, generation, expires_us, status, site, drain = row
    revoked, service = status != "ACTIVE", SERVICES[drain]
    return Host(host_id, name, agent_version, hypervisor_version, generation, expires_us, revoked, site, service)


def _reported(host_id: str, revision: int, vm: Vm) -> dict[str, Any]:
    """The columns of a VM that this host reports."""
    return {
        "host_id": host_id,
        "name": vm.name,
        "state": vm.state,
        "disks": dump(vm.disks),
        "inventory_revision": revision,
        "last_seen_us": vm.last_seen_us,
        "present": 1,
        "tags": dump(vm.tags),
    }


def _vm(row: sa.Row[Any]) -> Vm:
    disks = load_tuple(VmDisk, row.disks)
    tags = tuple(json.loads(row.tags))
    return Vm(row.id, row.name, row.host_id, row.state, disks, row.last_seen_us, bool(row.present), tags)
