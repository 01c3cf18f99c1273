"""Settings of single VMs."""

from collections.abc import Sequence

import sqlalchemy as sa

from seawall.controller.database.columns import dump, load
from seawall.controller.database.plain_rows import pairs
from seawall.controller.database.tables import vm_settings
from seawall.controller.records.settings import NO_SETTINGS, VmSettings
from seawall.repository.batches import in_batches


class SettingRows:
    """`Settings` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def of_vms(self, vm_ids: Sequence[str]) -> dict[str, VmSettings]:
        found: dict[str, VmSettings] = {}
        for ids in in_batches(vm_ids):
            some = vm_settings.c.vm_id.in_(ids)
            for row in self._connection.execute(sa.select(vm_settings).where(some)):
                found[row.vm_id] = load(VmSettings, row.body)
        return found

    def of_vm(self, vm_id: str) -> VmSettings:
        return self.of_vms([vm_id]).get(vm_id, NO_SETTINGS)

    def said_us(self) -> dict[str, int]:
        return pairs(self._connection, sa.select(vm_settings.c.vm_id, vm_settings.c.updated_us))

    def ignored(self) -> frozenset[str]:
        query = sa.select(vm_settings.c.vm_id).where(vm_settings.c.ignored == 1)
        return frozenset(self._connection.execute(query).scalars())

    def save(self, vm_id: str, settings: VmSettings, now_us: int) -> None:
        mine = vm_settings.c.vm_id == vm_id
        self._connection.execute(sa.delete(vm_settings).where(mine))
        if settings == NO_SETTINGS:
            return
        row = {"vm_id": vm_id, "body": dump(settings), "ignored": int(settings.ignored), "updated_us": now_us}
        self._connection.execute(sa.insert(vm_settings).values(**row))
