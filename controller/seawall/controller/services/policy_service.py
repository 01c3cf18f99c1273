"""PolicyService on the wire: files in, what they change and what they will do out."""

import asyncio
import base64
import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from grpc import aio

from seawall.api.v1 import policy_pb2, policy_pb2_grpc
from seawall.controller.errors import Aborted, InvalidArgument, NotFound
from seawall.controller.forgetting.plan import judged
from seawall.controller.hooks.calling import Caller
from seawall.controller.hooks.messages import trial_message
from seawall.controller.policies.applying import PolicyChange, carry_out, plan_changes, warnings_of
from seawall.controller.policies.compiled import Compiled
from seawall.controller.policies.document import parse_files
from seawall.controller.policies.forecast import estimate, firings, forecasts
from seawall.controller.policies.protection import fleet_of
from seawall.controller.policies.render import hook_texts, span_text
from seawall.controller.policies.standing import WEEK_US, PolicyStanding, late_points, standings
from seawall.controller.records.answers import Asked
from seawall.controller.records.policies import Policy, PolicySpec
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.scheduler.executions import Executions
from seawall.controller.scheduler.wakes import ENDED, POLICIES, RETENTION
from seawall.controller.services.blocking import Blocking
from seawall.controller.services.convert_forgetting import shown_verdicts
from seawall.controller.services.convert_hooks import hook_messages, hook_users
from seawall.controller.services.convert_policies import (
    MOST_VMS,
    change_message,
    firing_message,
    policy_message,
    vm_messages,
)
from seawall.controller.services.naming import find_policy, find_repository, find_vms
from seawall.controller.services.once import Once, asked_by
from seawall.controller.services.paging import page_by, page_size_or_all, start_of
from seawall.controller.store.transaction import Transaction
from seawall.controller.text import printable
from seawall.repository.clock import Clock, datetime_of

Context = aio.ServicerContext[Any, Any]
SHOWN_FIRINGS, MOST_FIRINGS = 5, 100
NOT_APPLIED = "not applied"
MOST_TRIES = 3
MOST_FILES = 100
TRIAL_SECONDS = 20.0
MOST_TRIALS = 4


class PolicyServicer(policy_pb2_grpc.PolicyServiceServicer):
    """Errors leave as ControllerError; the status interceptor maps them. `clock`: the wall's, as calendars mean it."""

    def __init__(self, executions: Executions, once: Once, blocking: Blocking, hooks: Caller, clock: Clock) -> None:
        self._executions = executions
        self._store = executions.store
        self._once = once
        self._blocking = blocking
        self._hooks = hooks
        self._trials = asyncio.Semaphore(MOST_TRIALS)
        self._clock = clock

    async def ApplyPolicies(
        self, request: policy_pb2.ApplyPoliciesRequest, context: Context
    ) -> policy_pb2.ApplyPoliciesResponse:
        specs = await self._parsed(_files(request))
        if request.plan_only:
            planned = await self._store.read(lambda transaction: plan_changes(transaction, specs, self._clock))
            return policy_pb2.ApplyPoliciesResponse(changes=[change_message(change) for change in planned])

        answer = await self._applied(specs, asked_by(request))
        self._executions.wakes.notify((POLICIES, RETENTION, ENDED))
        return policy_pb2.ApplyPoliciesResponse(changes=_recalled(answer))

    async def _applied(self, specs: Sequence[PolicySpec], asked: Asked) -> str:
        """Planned on a read, as that looks at the whole fleet and every point; written only as it was planned, else planned again."""

        def plan(transaction: Transaction) -> tuple[str | None, list[PolicyChange]]:
            known = self._once.known(transaction, asked)
            return known, [] if known is not None else plan_changes(transaction, specs, self._clock)

        tries = 0
        while True:
            known, planned = await self._store.read(plan)
            if known is not None:
                return known
            try:
                return await self._carried_out(planned, asked)
            except Aborted:
                tries += 1
                if tries == MOST_TRIES:
                    raise

    async def _carried_out(self, planned: Sequence[PolicyChange], asked: Asked) -> str:
        def apply(transaction: Transaction) -> str:
            changes = carry_out(transaction, planned, self._clock)
            return _remembered([change_message(change) for change in changes])

        return await self._executions.change(
            lambda change: self._once.within(change.transaction, asked, lambda: apply(change.transaction))
        )

    async def ListPolicies(
        self, request: policy_pb2.ListPoliciesRequest, context: Context
    ) -> policy_pb2.ListPoliciesResponse:
        now_us = self._clock.now_us()
        size, after = page_size_or_all(request.page_size), start_of(request.page_token)

        def closure(transaction: Transaction) -> policy_pb2.ListPoliciesResponse:
            found = transaction.policies.policies(after=after, limit=size + 1)
            page, token = page_by(
                found, size, lambda policy: policy.name, lambda page: _listed(standings(transaction, page, now_us))
            )
            return policy_pb2.ListPoliciesResponse(policies=page, next_page_token=token)

        return await self._store.read(closure)

    async def GetPolicy(self, request: policy_pb2.GetPolicyRequest, context: Context) -> policy_pb2.GetPolicyResponse:
        now_us = self._clock.now_us()

        def closure(transaction: Transaction) -> policy_pb2.GetPolicyResponse:
            policy = find_policy(transaction, request.policy)
            spec, revision = policy.spec, request.revision or policy.revision
            if revision != policy.revision:
                old = transaction.policies.revision(policy.id, revision)
                if old is None:
                    raise NotFound(
                        "REVISION_UNKNOWN",
                        f"Policy {policy.name} has revisions 1 to {policy.revision}, not {revision}.",
                    )
                spec = old
            (found,) = standings(transaction, [policy], now_us)
            return policy_pb2.GetPolicyResponse(policy=policy_message(found, spec, revision))

        return await self._store.read(closure)

    async def PreviewPolicy(
        self, request: policy_pb2.PreviewPolicyRequest, context: Context
    ) -> policy_pb2.PreviewPolicyResponse:
        files = [(request.document, request.source)] if request.document else []
        specs = await self._parsed(files, hooks=False)
        if len(specs) > 1:
            raise InvalidArgument("ONE_POLICY", "A preview shows one policy; the file has several.")
        now_us, count = self._clock.now_us(), min(request.firings or SHOWN_FIRINGS, MOST_FIRINGS)

        def closure(transaction: Transaction) -> policy_pb2.PreviewPolicyResponse:
            policy = _to_be(transaction, specs[0], now_us) if specs else find_policy(transaction, request.policy)
            asked = _asked_vms(transaction, request.vms)
            return _preview(transaction, Compiled.of(policy), now_us, count, asked, points=request.points)

        return await self._store.read(closure)

    async def DeletePolicy(
        self, request: policy_pb2.DeletePolicyRequest, context: Context
    ) -> policy_pb2.DeletePolicyResponse:
        asked = asked_by(request)

        def delete(transaction: Transaction) -> str:
            policy, now_us = find_policy(transaction, request.policy), self._clock.now_us()
            gone = replace(policy, revision=policy.revision + 1, deleted_us=now_us, changed_us=now_us)
            transaction.policies.save_policy(policy, gone)
            transaction.policies.drop_due(policy.id)
            return str(transaction.policies.count_points(policy.id))

        answer = await self._executions.change(
            lambda change: self._once.within(change.transaction, asked, lambda: delete(change.transaction))
        )
        return policy_pb2.DeletePolicyResponse(points_left=int(answer))

    async def _parsed(self, files: Sequence[tuple[str, str]], *, hooks: bool = True) -> list[PolicySpec]:
        """Of documents with their names. `hooks`: those that they name must be on this machine, which is the leader's then."""
        named, now_us = [(text, printable(source) or "the file") for text, source in files], self._clock.now_us()
        return await self._blocking.run(
            lambda: parse_files(named, now_us, self._hooks.directory.names() if hooks else None)
        )

    async def ListHooks(self, request: policy_pb2.ListHooksRequest, context: Context) -> policy_pb2.ListHooksResponse:
        size, after = page_size_or_all(request.page_size), start_of(request.page_token)
        since_us = self._clock.now_us() - WEEK_US
        named, failed = await self._store.read(
            lambda transaction: (hook_users(transaction), transaction.hooks.last_failed(since_us))
        )
        found = await self._blocking.run(self._hooks.directory.found)
        directory = str(self._hooks.directory.path)
        there = [each for each in hook_messages(found, named, failed) if each.name > after]
        page, token = page_by(there, size, lambda hook: hook.name, lambda page: page)
        return policy_pb2.ListHooksResponse(hooks=page, directory=directory, next_page_token=token)

    async def TestHook(self, request: policy_pb2.TestHookRequest, context: Context) -> policy_pb2.TestHookResponse:
        await self._blocking.run(lambda: self._hooks.directory.load(request.hook))

        async def act() -> str:
            message = trial_message(uuid7(self._clock), request.hook)
            async with self._trials:
                outcome = await self._hooks.call(request.hook, message, TRIAL_SECONDS)
            return json.dumps([outcome.succeeded, outcome.told])

        succeeded, told = json.loads(await self._once.around(asked_by(request), act))
        return policy_pb2.TestHookResponse(succeeded=succeeded, outcome=told)


def _files(request: policy_pb2.ApplyPoliciesRequest) -> list[tuple[str, str]]:
    """Documents with their names. Raises InvalidArgument/BAD_POLICY."""
    if request.files and request.document:
        raise InvalidArgument("BAD_POLICY", "Send a document, or files, not both.")
    if len(request.files) > MOST_FILES:
        raise InvalidArgument(
            "BAD_POLICY", f"{len(request.files)} files are too many at once; {MOST_FILES} are the most."
        )
    return [(each.document, each.source) for each in request.files] or [(request.document, request.source)]


def _listed(found: Sequence[PolicyStanding]) -> list[policy_pb2.Policy]:
    """Without their documents, which are large."""
    messages = [policy_message(each, each.policy.spec, each.policy.revision) for each in found]
    for message in messages:
        message.ClearField("document")
    return messages


def _preview(
    transaction: Transaction, compiled: Compiled, now_us: int, count: int, asked: Collection[str], *, points: bool
) -> policy_pb2.PreviewPolicyResponse:
    """`asked`: ids of the VMs that are listed; none: all."""
    now, fleet, spec = datetime_of(now_us), fleet_of(transaction), compiled.policy.spec
    expected = forecasts(transaction, compiled, fleet, now)
    coming = firings(compiled, [each.vm for each in expected], now, count)
    measured = [each for each in expected if each.measured]
    listed = [each for each in expected if each.vm.id in asked] if asked else expected
    hosts = {each.host_id: each.host for each in fleet.seen}
    answer = policy_pb2.PreviewPolicyResponse(
        firings=[firing_message(each, compiled.rules.zone) for each in coming],
        vms=vm_messages(listed, hosts),
        vms_total=len(expected),
        vms_asked=len(listed),
        read_bytes=sum(each.read_bytes for each in expected),
        stored_bytes=sum(each.stored_bytes for each in measured),
        seconds=sum(each.seconds for each in expected),
        vms_measured=len(measured),
        warnings=warnings_of(transaction, compiled.rules, fleet, now, [each.vm for each in expected]),
        spread=span_text(compiled.rules.spread_from(coming[0].nominal)) if coming else "",
        verify_seconds=spec.verify_seconds,
        verify_late=late_points(transaction, compiled.policy, now_us),
        points_total=transaction.policies.count_points(compiled.policy.id),
        hooks=hook_texts(spec.hooks),
        zone=spec.zone,
        first_read_bytes=sum(each.read_bytes for each in expected if not each.measured),
        vms_timed=sum(each.seconds > 0 for each in expected),
        estimated_seconds=estimate(transaction, compiled, expected),
        places_change=compiled.policy.id == NOT_APPLIED and any(each.first_start != each.last_start for each in coming),
    )
    if points and not spec.retention.keeps_nothing:
        _add_verdicts(answer, transaction, compiled, now_us, asked)
    return answer


def _add_verdicts(
    answer: policy_pb2.PreviewPolicyResponse,
    transaction: Transaction,
    compiled: Compiled,
    now_us: int,
    asked: Collection[str],
) -> None:
    """Those on the points of the VMs asked for, and how many go of all."""
    retention, zone, policy_id = compiled.policy.spec.retention, compiled.rules.zone, compiled.policy.id
    shown = shown_verdicts(transaction, judged(transaction, policy_id, retention, now_us, zone, asked))
    answer.verdicts.extend(shown.verdicts)
    answer.verdicts_left_off, answer.deletions_left_off = shown.left_off, shown.going_left_off
    answer.points_to_delete = shown.going
    if asked:
        every = judged(transaction, policy_id, retention, now_us, zone)
        answer.points_to_delete = sum(not each.keep for some in every for each in some)


def _asked_vms(transaction: Transaction, texts: Sequence[str]) -> frozenset[str]:
    """Ids. Raises InvalidArgument/TOO_MANY_VMS, and what `find_vms` does."""
    if len(texts) > MOST_VMS:
        raise InvalidArgument("TOO_MANY_VMS", f"At most {MOST_VMS} VMs at once; these are {len(texts)}.")
    return frozenset(vm.id for vm in find_vms(transaction, texts))


def _to_be(transaction: Transaction, spec: PolicySpec, now_us: int) -> Policy:
    """The policy as it would be: under its own id when there is one of that name, so that its VMs start when they really would."""
    repository_id = find_repository(transaction, spec.repository).id
    known = transaction.policies.policy_named(spec.name)
    if known is None:
        return Policy(NOT_APPLIED, 1, spec, repository_id, now_us, now_us, now_us)
    return replace(known, spec=spec, repository_id=repository_id, deleted_us=0)


def _remembered(changes: list[policy_pb2.PolicyChange]) -> str:
    return json.dumps([base64.b64encode(change.SerializeToString()).decode() for change in changes])


def _recalled(answer: str) -> list[policy_pb2.PolicyChange]:
    return [policy_pb2.PolicyChange.FromString(base64.b64decode(each)) for each in json.loads(answer)]
