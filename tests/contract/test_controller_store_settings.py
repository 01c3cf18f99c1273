"""What was said about single VMs, on every engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.controller.database.database import Database
from seawall.controller.records.runs import FreezePolicy
from seawall.controller.records.settings import NO_SETTINGS, CaptureSettings, VmSettings
from support.controller_databases import ENGINES, open_engine
from support.controller_records import NOW, a_vm
from support.enrolled_hosts import add_hosts

pytestmark = pytest.mark.timeout(120)

STRICT = VmSettings(CaptureSettings(freeze=FreezePolicy.REQUIRE, latency_ceiling_ms=20, exclude_disks=("vdb",)))
IGNORED = VmSettings(CaptureSettings(bytes_per_second=0), True, "made anew each night")


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """With host alpha and the VMs vm-1 and vm-2."""
    with open_engine(request.param, request, tmp_path) as made:
        add_hosts(made, "alpha")
        vms = [a_vm("vm-1"), a_vm("vm-2")]
        made.write_now(lambda transaction: transaction.fleet.replace_inventory("alpha", 1, vms))
        yield made


def test_settings_are_kept_replaced_and_dropped(store: Database) -> None:
    assert store.read_now(lambda transaction: transaction.settings.of_vm("vm-1")) == NO_SETTINGS
    for settings in (STRICT, IGNORED, NO_SETTINGS, STRICT):
        store.write_now(lambda transaction, said=settings: transaction.settings.save("vm-1", said, NOW))  # type: ignore[misc]
        assert store.read_now(lambda transaction: transaction.settings.of_vm("vm-1")) == settings
    assert store.read_now(lambda transaction: transaction.settings.of_vms(["vm-2", "vm-1", "vm-9"])) == {"vm-1": STRICT}


def test_ignored_vms_are_named(store: Database) -> None:
    store.write_now(lambda transaction: transaction.settings.save("vm-1", STRICT, NOW))
    store.write_now(lambda transaction: transaction.settings.save("vm-2", IGNORED, NOW))
    assert store.read_now(lambda transaction: transaction.settings.ignored()) == {"vm-2"}
    store.write_now(lambda transaction: transaction.settings.save("vm-2", NO_SETTINGS, NOW))
    assert store.read_now(lambda transaction: transaction.settings.ignored()) == frozenset()
