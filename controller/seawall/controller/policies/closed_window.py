"""What an operator is told of a run that its policy's windows hold back: which window opens next, and when. Pure; for `run explain`."""

from datetime import datetime

from seawall.controller.policies.compiled import Compiled
from seawall.controller.policies.decision import closed
from seawall.controller.policies.render import window_text
from seawall.controller.policies.windows import Stretch, Windows


def closed_window(compiled: Compiled, nominal: datetime, begins: datetime, now: datetime) -> str:
    """What a run waits for that the policy made; "" while a window is open, or where it has none.

    `nominal`: when it was due. `begins`: as it is set now, which is in the past until a look has moved it to the next window. Raises
    zoneinfo's errors.
    """
    rules = compiled.rules
    if rules.windows.open_at(now):
        return ""
    opening = rules.windows.next_open(now)
    if opening is None or opening.start - nominal > rules.catch_up:
        return closed(compiled)
    words = " and ".join(_opens(compiled, opening, now))
    local = f"{opening.start.astimezone(rules.zone):%a %Y-%m-%d %H:%M %Z}"
    turn = f"; its place in the spread is {begins.astimezone(rules.zone):%H:%M}" if begins > opening.start else ""
    return f"the window of policy {compiled.policy.name} ({words}) to open, {local}{turn}"


def _opens(compiled: Compiled, opening: Stretch, now: datetime) -> list[str]:
    """The policy's windows that begin with the stretch, as its document has them: others may be open later in it."""
    each = ((window, Windows((window,), compiled.rules.zone).next_open(now)) for window in compiled.rules.spec.windows)
    return [window_text(window) for window, its in each if its is not None and its.start == opening.start]
