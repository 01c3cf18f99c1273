"""Which VMs that were left out of an order make it an incomplete one."""

from types import SimpleNamespace

import pytest

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.exits import CommandError, Exit
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


class Upgraded:
    """Controllers that answer in turn: an older one has taken over while a large order was under way."""

    def __init__(self, *answers: operator_pb2.StartBackupResponse | CommandError) -> None:
        self.backup = SimpleNamespace(StartBackup=None)
        self.answers = list(answers)
        self.asked: list[operator_pb2.StartBackupRequest] = []

    def call(
        self, _: object, request: operator_pb2.StartBackupRequest, **__: object
    ) -> operator_pb2.StartBackupResponse:
        said = operator_pb2.StartBackupRequest()
        said.CopyFrom(request)
        self.asked.append(said)
        answer = self.answers.pop(0)
        if isinstance(answer, CommandError):
            raise answer
        return answer


def of_older(*run_ids: str) -> operator_pb2.StartBackupResponse:
    return operator_pb2.StartBackupResponse(runs=[resources_pb2.Run(run_id=run_id) for run_id in run_ids])


def not_read() -> CommandError:
    return CommandError(Exit.NOT_FOUND, "RUN_UNKNOWN", "There is no run 'run_ids'.")


def test_the_answer_to_a_part_of_an_order_is_not_taken_for_the_whole() -> None:
    """The rest is ordered, as a request of its own: the older controller knows no slices."""
    controller = Upgraded(of_older("r1", "r2"), of_older("r3"))
    request = operator_pb2.StartBackupRequest(vms=["vm1", "vm2", "vm3"])
    ordered = order(controller, Output(as_json=False), request)  # type: ignore[arg-type]
    assert (ordered.run_ids, ordered.incomplete) == (["r1", "r2", "r3"], False)
    assert [list(each.vms) for each in controller.asked] == [["vm1", "vm2", "vm3"], ["vm3"]]
    assert len({each.request_id for each in controller.asked}) == 2


def test_an_answer_that_tells_who_was_left_out_is_the_whole() -> None:
    left_out = operator_pb2.SkippedVm(vm="vm2", reason="NO_DISKS")
    controller = Upgraded(operator_pb2.StartBackupResponse(run_ids=["r1", "r3"], skipped=[left_out], skipped_total=1))
    request = operator_pb2.StartBackupRequest(vms=["vm1", "vm2", "vm3"])
    assert order(controller, Output(as_json=False), request).run_ids == ["r1", "r3"]  # type: ignore[arg-type]


def test_an_order_that_an_older_controller_cannot_read_is_sent_anew_once() -> None:
    controller = Upgraded(not_read(), of_older("r1", "r2"))
    request = operator_pb2.StartBackupRequest(vms=["vm1", "vm2"])
    assert order(controller, Output(as_json=False), request).run_ids == ["r1", "r2"]  # type: ignore[arg-type]
    assert len({each.request_id for each in controller.asked}) == 2
    with pytest.raises(CommandError, match="There is no run"):
        order(Upgraded(not_read(), not_read()), Output(as_json=False), request)  # type: ignore[arg-type]


def test_an_older_controller_that_takes_over_an_order_of_all_says_what_to_do() -> None:
    first = operator_pb2.StartBackupResponse(run_ids=["r1"], next_page_token="more")
    none_named = CommandError(Exit.USAGE, "NO_VMS", "Name at least one VM.")
    request = operator_pb2.StartBackupRequest(all_vms=True)
    with pytest.raises(CommandError, match=r"knows no --all: name the VMs\. Ordered before that: 1 backup;") as raised:
        order(Upgraded(first, not_read(), none_named), Output(as_json=False), request)  # type: ignore[arg-type]
    assert raised.value.reason == "NEEDS_UPGRADE"
