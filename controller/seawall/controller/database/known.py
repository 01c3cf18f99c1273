"""What an export takes from the database and a recovery puts back; no other part asks for all of it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from seawall.controller.database.columns import dump, load, load_tuple
from seawall.controller.database.plain_rows import plain_rows
from seawall.controller.database.points import AVAILABLE, WITH_RUN
from seawall.controller.database.tables import (
    agents,
    exported,
    holds,
    hosts,
    join_tokens,
    restore_points,
    runs,
    vm_settings,
    vms,
)
from seawall.controller.enrolment.port import AgentStatus
from seawall.controller.records.fleet import VmDisk
from seawall.controller.records.known import Exported, KnownHost, KnownPoint, KnownSettings, KnownVm
from seawall.controller.records.policies import Hold
from seawall.controller.records.settings import VmSettings

NO_TOKEN = "recovered"  # noqa: S105 (an id, no secret)
"""The join token of agents that came from an export: of no use to anybody."""
SHA256_BYTES = 32


class KnownRows:
    """`Known` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def hosts(self) -> Sequence[KnownHost]:
        query = sa.select(hosts, agents).join(agents, agents.c.id == hosts.c.id).order_by(hosts.c.id)
        return [
            KnownHost(
                row.id,
                row.name,
                row.site,
                row.drain,
                row.first_key_sha256.hex(),
                row.public_key_sha256.hex(),
                row.certificate_pem.decode("ascii", "replace"),
                row.certificate_expires_us,
                row.enrolled_us,
                row.status == AgentStatus.REVOKED,
            )
            for row in self._connection.execute(query)
        ]

    def vms(self) -> Sequence[KnownVm]:
        query = sa.select(vms.c.id, vms.c.name, vms.c.host_id, vms.c.disks, vms.c.tags).order_by(vms.c.id)
        return [
            KnownVm(row.id, row.name, row.host_id, load_tuple(VmDisk, row.disks), load_tuple(str, row.tags))
            for row in self._connection.execute(query)
        ]

    def settings(self) -> Sequence[KnownSettings]:
        query = sa.select(vm_settings.c.vm_id, vm_settings.c.body).order_by(vm_settings.c.vm_id)
        return [KnownSettings(row.vm_id, load(VmSettings, row.body)) for row in self._connection.execute(query)]

    def holds(self) -> Sequence[Hold]:
        query = sa.select(holds).order_by(holds.c.point_id)
        return [Hold(**row._mapping) for row in self._connection.execute(query)]

    def points(self, repository_id: str) -> Sequence[KnownPoint]:
        columns = (restore_points.c[name] for name in ("id", "host_id", "policy_id", "verified_us", "damaged"))
        mine = sa.select(*columns, runs.c.nominal_us).select_from(WITH_RUN)
        mine = mine.where(restore_points.c.repository_id == repository_id, AVAILABLE)
        return [
            KnownPoint(point_id, host_id, policy_id, verified_us > 0 and not damaged, nominal_us or 0)
            for point_id, host_id, policy_id, verified_us, damaged, nominal_us in plain_rows(
                self._connection, mine.order_by(restore_points.c.id)
            )
        ]

    def add_host(self, host: KnownHost) -> bool:
        if self._connection.execute(sa.select(hosts.c.id).where(hosts.c.id == host.id)).one_or_none():
            return False
        if not self._connection.execute(sa.select(join_tokens.c.id).where(join_tokens.c.id == NO_TOKEN)).one_or_none():
            self._connection.execute(sa.insert(join_tokens).values(id=NO_TOKEN, secret_sha256=bytes(SHA256_BYTES)))
        first_key = bytes.fromhex(host.first_key_sha256) or host.id.encode()
        enrolled = {"id": host.id, "token_id": NO_TOKEN, "first_key_sha256": first_key, "enrolled_us": host.enrolled_us}
        self._connection.execute(sa.insert(agents).values(**enrolled, **_certified(host)))
        self._connection.execute(
            sa.insert(hosts).values(id=host.id, name=host.name, site=host.site, drain=host.service)
        )
        return True

    def add_vm(self, vm: KnownVm) -> bool:
        if self._connection.execute(sa.select(vms.c.id).where(vms.c.id == vm.id)).one_or_none():
            return False
        self._connection.execute(
            sa.insert(vms).values(
                id=vm.id, name=vm.name, host_id=vm.host_id, disks=dump(vm.disks), tags=dump(vm.tags), state="unknown"
            )
        )
        return True

    def give_policy(self, point_id: str, policy_id: str, nominal_us: int = 0) -> None:
        mine = sa.and_(restore_points.c.id == point_id, restore_points.c.policy_id == "")
        self._connection.execute(sa.update(restore_points).where(mine).values(policy_id=policy_id))
        if not nominal_us:
            return
        # A run that was made of the point itself is no policy's: one of the policy may have that time already.
        silent = sa.and_(runs.c.id == point_id, runs.c.nominal_us == 0, runs.c.policy_id == "")
        self._connection.execute(sa.update(runs).where(silent).values(nominal_us=nominal_us))

    def save_host(self, host: KnownHost) -> None:
        self._connection.execute(sa.update(agents).where(agents.c.id == host.id).values(**_certified(host)))
        changed = sa.update(hosts).where(hosts.c.id == host.id).values(site=host.site, drain=host.service)
        self._connection.execute(changed)

    def exported(self) -> Sequence[Exported]:
        query = sa.select(exported).order_by(exported.c.repository_id)
        return [Exported(**row._mapping) for row in self._connection.execute(query)]

    def note_exported(self, known: Exported) -> None:
        mine = exported.c.repository_id == known.repository_id
        self._connection.execute(sa.delete(exported).where(mine))
        self._connection.execute(sa.insert(exported).values(**asdict(known)))


def _certified(host: KnownHost) -> dict[str, Any]:
    status = AgentStatus.REVOKED if host.revoked else AgentStatus.ACTIVE
    return {
        "public_key_sha256": bytes.fromhex(host.public_key_sha256),
        "certificate_pem": host.certificate_pem.encode(),
        "certificate_expires_us": host.certificate_expires_us,
        "status": status.value,
    }
