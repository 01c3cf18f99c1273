"""What must never be so, and what must be so in the end."""

from model.rules import Scope
from model.state import State, committed, manifests_in_force, readable, top_epoch


def broken(scope: Scope, state: State) -> str:
    """The first invariant that a state breaks, as a sentence; "" when all hold."""
    if state.alarm:
        return state.alarm
    held, good = readable(state.bucket), committed(state.bucket)
    for point, manifest in good.items():
        if not manifest.refs <= held:
            return f"committed point {point} names slots that are gone: {sorted(manifest.refs - held)}"
        if any(pack in scope.foreign and pack != point for pack, _ in manifest.refs):
            return f"committed point {point} names a pack of another tenant"
    for point, agent in enumerate(state.agents):
        if agent.doing == "acked" and point not in good and point not in state.forgotten:
            return f"point {point} was acknowledged and is not in force"
    for point in sorted(state.deleted & good.keys()):
        return f"point {point} was deleted, and counts again"
    return _leaders_view(state, good.keys() | manifests_in_force(state.bucket).keys()) or _readers(state)


def _leaders_view(state: State, standing: set[int]) -> str:
    """What the last leader to open the repository shows."""
    held = readable(state.bucket)
    for leader in state.leaders:
        if leader.stage != "serving" or leader.epoch != top_epoch(state.bucket):
            continue
        for point, row in enumerate(state.dbs[leader.db].points):
            if row.state == "available" and point not in standing:
                return f"point {point} is shown as available and has no m/ in force"
            if row.state == "available" and row.protected:
                needs = {slot for one in state.bucket.manifests if one.point == point for slot in one.needs}
                if not needs <= held:
                    return f"point {point} is shown as protected and cannot be restored"
    return ""


def _readers(state: State) -> str:
    held = readable(state.bucket)
    for point, agent in enumerate(state.agents):
        refs = {slot for db in state.dbs if db.points[point].state != "none" for slot in db.points[point].refs}
        if agent.reading and not refs <= held:
            return f"a restore of point {point} is under way and its slots are gone"
    return ""


def tidy(state: State) -> bool:
    """Nothing is under way, and the bucket holds what committed points need and nothing else."""
    if state.calls or any(agent.doing in ("writing", "waiting") for agent in state.agents):
        return False
    last = state.leaders[-1]
    if last.stage != "serving" or last.epoch != top_epoch(state.bucket) or last.job is not None:
        return False
    if any(row.state in ("open", "intent", "deleting") for row in state.dbs[last.db].points):
        return False
    good = committed(state.bucket)
    if any(point not in good for point in manifests_in_force(state.bucket)):
        return False
    needed = frozenset(slot for one in good.values() for slot in one.refs)
    single = len({pack for pack, _, _ in state.bucket.packs}) == len(state.bucket.packs)
    return single and readable(state.bucket) == needed
