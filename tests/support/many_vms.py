"""Fleets of many VMs, written straight into a running controller's database."""

from collections.abc import Sequence
from dataclasses import replace

from seawall.controller.database.database import Database
from support.controller_application import Controller
from support.controller_records import a_vm


def vm_id(number: int) -> str:
    return f"0192f3c1-7b2e-7000-8000-{number:012}"


def database_of(controller: Controller) -> Database:
    database = controller.application._database
    assert isinstance(database, Database)
    return database


def with_vms(
    controller: Controller, count: int, *, bare: Sequence[int] = (), host: str = "alpha", first: int = 0
) -> list[str]:
    """They are on a host that is offline, so their runs wait. `bare`: those without a disk."""
    numbers = range(first, first + count)
    vms = [a_vm(vm_id(n), name=f"vm{n}", host_id=host) for n in numbers]
    vms = [replace(vm, disks=()) if n in bare else vm for n, vm in zip(numbers, vms, strict=True)]
    database_of(controller).write_now(lambda transaction: transaction.fleet.replace_inventory(host, 1, vms))
    return [vm.id for vm in vms]
