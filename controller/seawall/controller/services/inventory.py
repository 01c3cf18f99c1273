"""A host's inventory: its pages gathered, then the whole set stored at once. No wire types here."""

from dataclasses import dataclass, field

import structlog

from seawall.controller.errors import Aborted, InvalidArgument
from seawall.controller.records.fleet import Vm
from seawall.controller.scheduler.executions import Change, Executions
from seawall.controller.services.sessions import require_session

MOST_VMS = 20_000

_log = structlog.get_logger()


@dataclass(slots=True)
class _Pages:
    """What came so far of one inventory."""

    revision: int
    count: int = 0
    vms: list[Vm] = field(default_factory=list)


class Inventories:
    """Belongs to one event loop."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions
        self._pages: dict[str, _Pages] = {}

    async def report(self, agent_id: str, session_id: str, revision: int, page: int, last: bool, vms: list[Vm]) -> None:
        """A page sent again changes nothing.

        Raises FailedPrecondition/SESSION_UNKNOWN, Aborted/INVENTORY_GAP (begin again with page 0), InvalidArgument/TOO_MANY_VMS.
        """
        await self._executions.store.read(lambda transaction: require_session(transaction, agent_id, session_id))
        whole = self._gather(agent_id, revision, page, vms)
        if not last:
            return

        def closure(change: Change) -> list[str]:
            require_session(change.transaction, agent_id, session_id)
            return list(change.transaction.fleet.replace_inventory(agent_id, revision, whole))

        moved = await self._executions.change(closure)
        self._pages.pop(agent_id, None)
        if moved:
            _log.warning("vms.moved", host=agent_id, vm_ids=moved)

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
