"""Which runs a request asks for."""

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.controller.errors import InvalidArgument
from seawall.controller.records.runs import OPEN_RUN_STATES, RunFilter, RunState
from seawall.controller.services.naming import find_policy_of_runs, find_vm
from seawall.controller.store.transaction import Transaction

_US = 1_000_000


def run_filter(transaction: Transaction, request: operator_pb2.ListRunsRequest, now_us: int) -> RunFilter:
    """Raises what `find_vm` and `find_policy_of_runs` do, InvalidArgument/BAD_FILTER."""
    states = {_state(value) for value in request.states} | set(OPEN_RUN_STATES if request.open_only else ())
    return RunFilter(
        find_vm(transaction, request.vm).id if request.vm else "",
        find_policy_of_runs(transaction, request.policy).id if request.policy else "",
        tuple(sorted(states)),
        _since_us(request, now_us),
    )


def _state(value: resources_pb2.RunState.ValueType) -> RunState:
    name = resources_pb2.RunState.Name(value) if value in resources_pb2.RunState.values() else ""
    short = name.removeprefix("RUN_STATE_")
    if short not in RunState.__members__:
        raise InvalidArgument("BAD_FILTER", f"This controller knows no state {value} of runs.")
    return RunState(short)


def _since_us(request: operator_pb2.ListRunsRequest, now_us: int) -> int:
    if not request.HasField("within"):
        return 0
    within_us = request.within.ToMicroseconds()
    if within_us <= 0:
        raise InvalidArgument("BAD_FILTER", f"Runs cannot have ended within {within_us // _US} s.")
    return max(1, now_us - within_us)
