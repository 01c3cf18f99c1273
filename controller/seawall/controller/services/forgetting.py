"""Orders to delete points, named one by one or by a policy: planned in one transaction, then carried out as it was planned."""

import json
from collections.abc import Sequence

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.controller.errors import FailedPrecondition, InvalidArgument
from seawall.controller.forgetting.deletion import Deletions
from seawall.controller.forgetting.plan import PlannedPoint, Scope, confirmed, plan_deletion, plan_policy
from seawall.controller.forgetting.reclaim import Reclaim
from seawall.controller.forgetting.retention import Policy
from seawall.controller.records.catalogue import Point, PointState
from seawall.controller.services.blocking import Blocking
from seawall.controller.services.convert_forgetting import (
    fitted,
    policy_of,
    reclaim_message,
    verdict_messages,
    zone_of,
)
from seawall.controller.services.naming import find_point, find_repository, find_vm
from seawall.controller.services.once import Once, asked_by
from seawall.controller.store.transaction import Store, Transaction
from seawall.repository.clock import Clock

MOST_POINTS = 1000
DELETED = "deleted"

_Outcome = tuple[str, bool, list[str]]
"""Point id, kept, reasons: what is remembered of an order."""


class Forgetting:
    """Belongs to one event loop; what waits for a store runs in threads."""

    def __init__(
        self, store: Store, once: Once, deletions: Deletions, reclaim: Reclaim, blocking: Blocking, clock: Clock
    ) -> None:
        self._store = store
        self._once = once
        self._deletions = deletions
        self._reclaim = reclaim
        self._blocking = blocking
        self._clock = clock

    async def delete(self, request: operator_pb2.DeletePointsRequest) -> operator_pb2.DeletePointsResponse:
        """See DeletePoints in operator.proto."""
        _check_count(request.points)
        if request.plan_only:
            planned = await self._store.read(lambda transaction: _asked(transaction, request.points))
            reclaim = await self._reclaimed(planned)
            verdicts = await self._messages(planned)
            return operator_pb2.DeletePointsResponse(verdicts=verdicts, reclaim=reclaim)

        async def act() -> str:
            named = await self._store.read(lambda transaction: _named(transaction, request.points))
            await self._blocking.run(lambda: self._deletions.delete([point.id for point in named]))
            return _text([(point.id, False, [DELETED]) for point in named])

        answer = await self._once.around(asked_by(request), act)
        return operator_pb2.DeletePointsResponse(verdicts=await self._remembered(answer))

    async def forget(self, request: operator_pb2.ForgetPointsRequest) -> operator_pb2.ForgetPointsResponse:
        """See ForgetPoints in operator.proto."""
        policy = policy_of(request.policy)
        if request.plan_only:
            planned = await self._planned(request, policy)
            reclaim = await self._reclaimed(planned)
            shown = fitted(await self._messages(planned), reclaim)
            shown.zone = zone_of(request).key
            return shown
        if not request.planned:
            raise InvalidArgument("NOT_PLANNED", "Ask for a plan first; then name the points of it that are to go.")
        _check_count(request.planned)

        async def act() -> str:
            outcomes = await self._outcomes(request, policy)
            going = [point_id for point_id, kept, _ in outcomes if not kept]
            await self._blocking.run(lambda: self._deletions.delete(going))
            return _text(outcomes)

        answer = await self._once.around(asked_by(request), act)
        return operator_pb2.ForgetPointsResponse(verdicts=await self._remembered(answer), zone=zone_of(request).key)

    async def _planned(self, request: operator_pb2.ForgetPointsRequest, policy: Policy) -> list[PlannedPoint]:
        now_us, zone = self._clock.now_us(), zone_of(request)
        return await self._store.read(
            lambda transaction: plan_policy(transaction, _scope(transaction, request), policy, now_us, zone)
        )

    async def _outcomes(self, request: operator_pb2.ForgetPointsRequest, policy: Policy) -> list[_Outcome]:
        """Of each planned point. One that an earlier try of the same order decided on goes on."""
        fresh = {each.point.id: each for each in confirmed(await self._planned(request, policy), request.planned)}
        under_way = await self._store.read(lambda transaction: _under_way(transaction, request.planned))
        outcomes: list[_Outcome] = []
        for point_id in dict.fromkeys(request.planned):
            if point_id in under_way:
                outcomes.append((point_id, False, [DELETED]))
            elif point_id in fresh:
                outcomes.append((point_id, fresh[point_id].keep, list(fresh[point_id].reasons)))
        return outcomes

    async def _reclaimed(self, planned: Sequence[PlannedPoint]) -> resources_pb2.Reclaim:
        going = [each.point for each in planned if not each.keep]
        return reclaim_message(await self._blocking.run(lambda: self._reclaim.of(going)))

    async def _messages(self, planned: Sequence[PlannedPoint]) -> list[resources_pb2.PointVerdict]:
        return await self._store.read(lambda transaction: verdict_messages(transaction, planned))

    async def _remembered(self, answer: str) -> list[resources_pb2.PointVerdict]:
        """The same outcomes for ever; the points as they are now."""

        def closure(transaction: Transaction) -> list[resources_pb2.PointVerdict]:
            outcomes = [(transaction.points.point(point_id), keep, why) for point_id, keep, why in json.loads(answer)]
            planned = [PlannedPoint(point, keep, tuple(why)) for point, keep, why in outcomes if point is not None]
            return verdict_messages(transaction, planned)

        return await self._store.read(closure)


def _text(outcomes: Sequence[_Outcome]) -> str:
    return json.dumps(outcomes)


def _scope(transaction: Transaction, request: operator_pb2.ForgetPointsRequest) -> Scope:
    """Raises InvalidArgument/NO_SCOPE: nobody means every point of every VM by saying nothing."""
    if not (request.vms or request.repository or request.all_vms):
        raise InvalidArgument("NO_SCOPE", "Say whose points: name VMs, a repository, or all VMs.")
    vm_ids = dict.fromkeys(find_vm(transaction, text).id for text in request.vms)
    return Scope(tuple(vm_ids), find_repository(transaction, request.repository).id if request.repository else "")


def _named(transaction: Transaction, texts: Sequence[str]) -> list[Point]:
    """A whole id names a point that is being deleted too: the order is repeated. Raises NotFound, InvalidArgument/AMBIGUOUS."""
    found: dict[str, Point] = {}
    for text in texts:
        point = transaction.points.point(text)
        if point is None or point.state is PointState.FAILED:
            point = find_point(transaction, text)
        found[point.id] = point
    return list(found.values())


def _asked(transaction: Transaction, texts: Sequence[str]) -> list[PlannedPoint]:
    points = [find_point(transaction, text) for text in texts]
    for point in points:
        if point.state is not PointState.AVAILABLE:
            raise FailedPrecondition("POINT_NOT_AVAILABLE", f"Point {point.id} is still being published.")
    return plan_deletion(transaction, points)


def _under_way(transaction: Transaction, point_ids: Sequence[str]) -> set[str]:
    points = (transaction.points.point(point_id) for point_id in point_ids)
    return {point.id for point in points if point and point.state in (PointState.DELETING, PointState.DELETED)}


def _check_count(points: Sequence[str]) -> None:
    if not points:
        raise InvalidArgument("NO_POINTS", "Name at least one point.")
    if len(points) > MOST_POINTS:
        raise InvalidArgument("TOO_MANY_POINTS", f"At most {MOST_POINTS} points at once; these are {len(points)}.")
