"""Which VMs that were left out of an order make it an incomplete one."""

from types import SimpleNamespace

import pytest

from seawall.api.v1 import operator_pb2
from seawall.cli.many_backups import order
from seawall.cli.output import Output


class Answering:
    """A controller that orders one run and leaves one VM out."""

    def __init__(self, reason: str) -> None:
        self.backup = SimpleNamespace(StartBackup=None)
        self.reason = reason

    def call(self, *_: object, **__: object) -> operator_pb2.StartBackupResponse:
        left_out = operator_pb2.SkippedVm(vm="router", reason=self.reason)
        return operator_pb2.StartBackupResponse(run_ids=["r1"], skipped=[left_out], skipped_total=1)


@pytest.mark.parametrize(
    ("all_vms", "reason", "incomplete"),
    [(True, "NO_DISKS", False), (True, "SEVERAL_TENANTS", True), (False, "NO_DISKS", True)],
)
def test_a_vm_without_disks_may_be_left_out_only_where_nobody_named_it(
    all_vms: bool, reason: str, incomplete: bool
) -> None:
    vms = [] if all_vms else ["db-1", "router"]
    request = operator_pb2.StartBackupRequest(all_vms=all_vms, vms=vms)
    ordered = order(Answering(reason), Output(as_json=False), request)  # type: ignore[arg-type]
    assert (ordered.run_ids, ordered.incomplete) == (["r1"], incomplete)
