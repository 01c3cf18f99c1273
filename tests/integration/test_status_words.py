"""What `status` counts: VMs with a point, VMs that no policy protects, and that these are two things."""

import uuid
from pathlib import Path

from seawall.api.v1 import policy_pb2
from support.cli_command import Cli
from support.controller_agent import VM_NAME, enrolled
from support.controller_application import Controller, configured, running
from support.memory_disks import ModelDisk

EVERY = """policy: nightly
repository: main
select: {all: true}
schedule: {cron: "0 3 * * *", zone: UTC}
"""


def vms(cli: Cli) -> str:
    (line,) = (line for line in cli("status").out.splitlines() if line.strip().startswith("VMs"))
    return line.strip().removeprefix("VMs").strip()


def apply(controller: Controller, document: str) -> None:
    request = policy_pb2.ApplyPoliciesRequest(request_id=str(uuid.uuid4()), document=document, source="p.yaml")
    controller.policies.ApplyPolicies(request)


def test_unprotected_is_the_same_word_in_status_and_in_the_list(tmp_path: Path) -> None:
    config = configured(tmp_path / "state")
    cli, size = Cli(tmp_path, config.operator_toml), 1 << 20
    with running(config) as controller:
        controller.add_folder(tmp_path / "bucket")
        alpha = enrolled(controller, "alpha")
        alpha.inventory({"vda": size})
        assert vms(cli) == "0 of 1 have a point, 1 unprotected (seawall vm list --unprotected)"
        assert len(cli("vm", "list", "--unprotected", "--json").json["vms"]) == 1
        controller.start_backup(VM_NAME)
        alpha.backup({"vda": ModelDisk(size).source()})
        assert vms(cli).startswith("1 of 1 have a point, 1 unprotected"), "somebody ordered it; nobody will again"
        apply(controller, EVERY)
        assert vms(cli) == "1 of 1 have a point, none unprotected"
        assert cli("vm", "list", "--unprotected", "--json").json["vms"] == []
        assert cli("status", "--json").json["vms_unprotected"] == 0
