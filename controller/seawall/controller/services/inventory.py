"""A host's inventory: its pages gathered, then the whole set stored at once. No wire types here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from seawall.controller.errors import Aborted, ControllerError, FailedPrecondition, InvalidArgument
from seawall.controller.moving.noting import MoveNotes
from seawall.controller.records.fleet import News, Vm
from seawall.controller.scheduler.executions import Change, Executions
from seawall.controller.scheduler.wakes import SCHEDULER
from seawall.controller.services.gathering import Gathering
from seawall.controller.services.sessions import require_session

MOST_VMS = 20_000
MOST_TOGETHER = 8
"""Inventories in one transaction."""

_log = structlog.get_logger()


@dataclass(slots=True)
class _Pages:
    """What came so far of one inventory."""

    revision: int
    count: int = 0
    vms: list[Vm] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Whole:
    """A host's inventory, all of its pages."""

    agent_id: str
    session_id: str
    revision: int
    vms: tuple[Vm, ...]
    left_us: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Stored:
    news: News
    disputed: bool
    """Another host keeps a VM that this one reports."""


class Inventories:
    """Belongs to one event loop. After a start a thousand hosts report at once: one transaction of them waits for the writer, not a
    thousand, so that heartbeats come in between."""

    def __init__(self, executions: Executions, notes: MoveNotes) -> None:
        self._executions = executions
        self._notes = notes
        self._pages: dict[str, _Pages] = {}
        self._stored = Gathering(self._store, MOST_TOGETHER)

    async def report(
        self,
        agent_id: str,
        session_id: str,
        revision: int,
        page: int,
        last: bool,
        vms: list[Vm],
        left_us: Mapping[str, int],
    ) -> bool:
        """A page sent again changes nothing. `left_us`: with the last page, VMs that left this host by migration, and when.

        Returns whether another host has one of these VMs: the next report may decide otherwise.
        Raises FailedPrecondition/SESSION_UNKNOWN, Aborted/INVENTORY_GAP (begin again with page 0), InvalidArgument/TOO_MANY_VMS.
        """
        if not last:  # with the last page the transaction that stores it looks
            await self._executions.store.read(lambda transaction: require_session(transaction, agent_id, session_id))
        whole = self._gather(agent_id, revision, page, vms)
        if not last:
            return False

        stored = await self._stored(_Whole(agent_id, session_id, revision, tuple(whole), left_us))
        self._pages.pop(agent_id, None)
        if stored.news.changed:
            self._executions.wakes.notify((SCHEDULER,))
        if stored.news.taken:
            _log.warning("vms.moved", host=agent_id, vm_ids=stored.news.taken)
        return stored.disputed

    async def _store(self, some: Sequence[_Whole]) -> Sequence[_Stored | ControllerError]:
        # Most reports say what is known: a thousand hosts would keep the scheduler looking all the time.
        return await self._executions.change(lambda change: [self._one(change, each) for each in some], schedule=False)

    def _one(self, change: Change, whole: _Whole) -> _Stored | ControllerError:
        try:
            require_session(change.transaction, whole.agent_id, whole.session_id)
        except FailedPrecondition as error:
            return error  # its own: nothing of it was written
        foreign = self._notes.foreign(change.transaction, whole.agent_id, whole.vms)
        news = change.transaction.fleet.replace_inventory(whole.agent_id, whole.revision, whole.vms)
        self._notes.note(change.transaction, whole.agent_id, whole.vms, foreign, news.taken, whole.left_us)
        for host_id in sorted({foreign[vm_id] for vm_id in news.taken if vm_id in foreign}):
            change.wake_host(host_id)  # whoever has lost a VM says what it knows, and does not wait for its next report
        return _Stored(news, disputed=bool(foreign.keys() - set(news.taken)))

    def _gather(self, agent_id: str, revision: int, page: int, vms: list[Vm]) -> list[Vm]:
        """All VMs of the pages up to this one."""
        if page == 0:
            self._pages[agent_id] = _Pages(revision)
        have = self._pages.get(agent_id)
        if have is None or have.revision != revision or page not in (have.count - 1, have.count):
            raise Aborted(
                "INVENTORY_GAP", "Earlier pages of this inventory are not known here; begin again with page 0."
            )
        if page == have.count:
            have.count += 1
            have.vms.extend(vms)
        if len(have.vms) > MOST_VMS:
            self._pages.pop(agent_id)
            raise InvalidArgument("TOO_MANY_VMS", f"A host reports at most {MOST_VMS} VMs.")
        return have.vms
