"""Orders of backups, however many: a slice is one transaction, so that others get their turn in between, and has an answer of its own.

So whoever asks again, because the answer was lost or the controller was replaced, goes on with the first slice that has none, and
nothing is ordered twice.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.controller.errors import InvalidArgument
from seawall.controller.records.answers import Asked
from seawall.controller.records.settings import CaptureSettings
from seawall.controller.scheduler.executions import Change, Executions
from seawall.controller.scheduler.wakes import SCHEDULER
from seawall.controller.services.convert_runs import run_message
from seawall.controller.services.convert_settings import command_of
from seawall.controller.services.grouping import check_size
from seawall.controller.services.once import Once, asked_by
from seawall.controller.services.orders import NO_DISKS, LeftOut, Orders, check_excluded
from seawall.controller.services.paging import LARGEST_BYTES, start_of, token_after
from seawall.controller.services.slices import SLICE, carried_out
from seawall.controller.services.views import run_views
from seawall.controller.store.transaction import Transaction
from seawall.repository.batches import in_batches

MOST_VMS = 50_000
"""Of one request: so many ids of runs fit into its answer."""
MOST_TOLD = 100
"""VMs that were left out and are told by name."""


@dataclass(frozen=True, slots=True)
class _Made:
    """What became of a slice. `after`: with all VMs, the id of the last that was looked at while there are more; else ""."""

    run_ids: Sequence[str]
    left_out: Sequence[LeftOut] = ()
    after: str = ""


@dataclass(slots=True)
class _Whole:
    """What became of all slices."""

    run_ids: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    after: str = ""

    def take(self, made: _Made) -> None:
        self.run_ids += made.run_ids
        self.left_out += made.left_out
        self.after = made.after


class ManyBackups:
    """Belongs to one event loop. See StartBackup in operator.proto."""

    def __init__(self, executions: Executions, once: Once, orders: Orders) -> None:
        self._executions = executions
        self._once = once
        self._orders = orders

    async def start(self, request: operator_pb2.StartBackupRequest) -> operator_pb2.StartBackupResponse:
        asked, command = asked_by(request), command_of(request)
        _check_request(request)
        if request.all_vms:
            whole = await self._all(asked, request, command)
        elif len(request.vms) <= SLICE or request.together:
            whole = await self._at_once(asked, request, command)
        else:
            whole = await self._in_slices(asked, request, command)
        self._executions.wakes.notify((SCHEDULER,))
        return operator_pb2.StartBackupResponse(
            runs=() if request.ids_only else await self._messages(whole.run_ids),
            run_ids=whole.run_ids,
            skipped=_told(whole.left_out),
            skipped_total=len(whole.left_out),
            next_page_token=token_after(whole.after) if whole.after else "",
        )

    async def _at_once(
        self, asked: Asked, request: operator_pb2.StartBackupRequest, command: CaptureSettings
    ) -> _Whole:
        """All or nothing."""
        together = request.together

        def act(change: Change) -> str:
            run_ids = self._orders.backup(change, request.vms, request.repository, command, together=together)
            return json.dumps(run_ids)  # as controllers of before there were slices read it

        return _only(_remembered(await carried_out(self._executions, self._once, asked, act, 0)))

    async def _in_slices(
        self, asked: Asked, request: operator_pb2.StartBackupRequest, command: CaptureSettings
    ) -> _Whole:
        slices = list(in_batches(request.vms, SLICE))
        begun = await self._known(asked)
        if begun is None:
            await self._check(slices, request.repository, command)
        elif isinstance(json.loads(begun), list):
            return _only(_remembered(begun))  # of a controller that ordered all of them in one transaction
        whole = _Whole()
        for part, some in enumerate(slices):

            def act(change: Change, some: Sequence[str] = some) -> str:
                return _text(_Made(*self._orders.backup_those_that_can(change, some, request.repository, command)))

            whole.take(_remembered(await carried_out(self._executions, self._once, asked, act, part)))
        return whole

    async def _all(self, asked: Asked, request: operator_pb2.StartBackupRequest, command: CaptureSettings) -> _Whole:
        begin = start_of(request.page_token)
        if command.exclude_disks and not begin and await self._known(asked) is None:
            check_excluded(await self._every_disk(), command)
        whole, looked_at, part = _Whole(after=begin), 0, 0
        most = min(request.page_size or MOST_VMS, MOST_VMS)
        while looked_at < most and (whole.after or not part):
            size = min(SLICE, most - looked_at)

            def act(change: Change, after: str = whole.after, size: int = size) -> str:
                vms = change.transaction.fleet.vms(after=after, limit=size)
                ignored = change.transaction.settings.ignored()
                wanted = [vm.id for vm in vms if vm.present and vm.id not in ignored]
                made = self._orders.backup_those_that_can(change, wanted, request.repository, command)
                return _text(_Made(*made, after=vms[-1].id if len(vms) == size else ""))

            whole.take(_remembered(await carried_out(self._executions, self._once, asked, act, part)))
            looked_at, part = looked_at + size, part + 1
        return whole

    async def _check(self, slices: Sequence[Sequence[str]], repository: str, command: CaptureSettings) -> None:
        """Nothing is ordered where one of them cannot be backed up. Raises what `Orders.backup` raises."""
        disks: set[str] = set()
        for some in slices:

            def closure(transaction: Transaction, some: Sequence[str] = some) -> frozenset[str]:
                return self._orders.check_backups(transaction, some, repository, command)

            disks |= await self._executions.store.read(closure)
        check_excluded(disks, command)

    async def _known(self, asked: Asked) -> str | None:
        """What the first slice was answered: then the request was checked, and some of it is ordered."""
        return await self._executions.store.read(lambda transaction: self._once.known(transaction, asked))

    async def _every_disk(self) -> set[str]:
        disks, after = set[str](), ""
        while True:
            vms = await self._executions.store.read(lambda t, after=after: t.fleet.vms(after=after, limit=SLICE))  # type: ignore[misc]
            if not vms:
                return disks
            disks |= {disk.disk for vm in vms for disk in vm.disks}
            after = vms[-1].id

    async def _messages(self, run_ids: Sequence[str]) -> list[resources_pb2.Run]:
        """Of the first ones, as many as the answer holds beside all ids."""
        room = LARGEST_BYTES - sum(map(len, run_ids))
        shown: list[resources_pb2.Run] = []
        for some in in_batches(run_ids, SLICE):

            def closure(transaction: Transaction, some: Sequence[str] = some) -> list[resources_pb2.Run]:
                found = {run.id: run for run in transaction.runs.runs_of(some)}
                now_us, listening_us = self._orders.clock.now_us(), self._orders.clock.started_us
                views = run_views(transaction, list(found.values()), now_us, listening_us=listening_us)
                messages = {view.run.id: run_message(view) for view in views}
                return [messages[run_id] for run_id in some if run_id in messages]

            for message in await self._executions.store.read(closure):
                room -= message.ByteSize()
                if room < 0 and shown:
                    return shown
                shown.append(message)
        return shown


def _check_request(request: operator_pb2.StartBackupRequest) -> None:
    if request.all_vms and (request.vms or request.together):
        raise InvalidArgument("BAD_FILTER", "All VMs, or those that are named: not both, and not together.")
    if not request.all_vms and not request.vms:
        raise InvalidArgument("NO_VMS", "Name at least one VM.")
    if len(request.vms) > MOST_VMS:
        raise InvalidArgument("TOO_MANY_VMS", f"At most {MOST_VMS} VMs at once; these are {len(request.vms)}.")
    if request.together:
        check_size(len(request.vms))  # before each is looked up in the one transaction that they share


def _told(left_out: Sequence[LeftOut]) -> list[operator_pb2.SkippedVm]:
    """Those first that have something to back up."""
    first = sorted(left_out, key=lambda each: each.reason == NO_DISKS)[:MOST_TOLD]
    return [operator_pb2.SkippedVm(vm=each.vm, reason=each.reason, message=each.message) for each in first]


def _only(made: _Made) -> _Whole:
    whole = _Whole()
    whole.take(made)
    return whole


def _text(made: _Made) -> str:
    return json.dumps(asdict(made))


def _remembered(answer: str) -> _Made:
    found = json.loads(answer)
    if isinstance(found, list):
        return _Made(found)
    return _Made(found["run_ids"], [LeftOut(**each) for each in found["left_out"]], found["after"])
