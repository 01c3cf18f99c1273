"""Which READY runs their policy's windows hold back just now: placement leaves them out, whatever its look at them was late for. Pure.

`closing.py` moves them to the next window a little later, or ends them; a run that somebody asked for is held by none.
"""

from collections.abc import Iterable, Sequence

from seawall.controller.policies.compiled import Compiled
from seawall.controller.records.policies import Policy
from seawall.controller.records.runs import Run
from seawall.controller.runs.ready import by_policy_alone
from seawall.repository.clock import datetime_of


def outside(policies: Iterable[Policy], ready: Sequence[Run], wall_us: int) -> list[str]:
    """Ids of those of the READY runs that are due outside their windows. `policies`: all that have windows; `wall_us`: what people's clocks
    show."""
    shut = {policy.id for policy in policies if policy.spec.windows and not _open(policy, wall_us)}
    return [run.id for run in ready if run.policy_id in shut and by_policy_alone(run)] if shut else []


def _open(policy: Policy, wall_us: int) -> bool:
    """A policy whose zone is gone with an upgrade has no windows that anybody could keep to; closing.py tells of it."""
    try:
        return Compiled.of(policy).rules.windows.open_at(datetime_of(wall_us))
    except (ValueError, LookupError):
        return True
