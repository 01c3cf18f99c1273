"""How talking to the controller can fail, beside Fenced, Canceled and ControllerUnreachable of agent.errors."""

from seawall.agent.errors import AgentError, FailureKind


class ControllerSilent(AgentError):
    """No answer, or "not now": the same call may succeed in a moment. Retried; never leaves the retry decorator of a worker."""

    reason = "CONTROLLER_SILENT"


class ControllerStandsStill(ControllerSilent):
    """It is connected, and gives no sign of life: another one is to be asked."""

    reason = "CONTROLLER_STANDS_STILL"


class LeaderElsewhere(ControllerSilent):
    """The controller that was asked does not lead. The next try goes to the one that does, or waits until there is one."""

    reason = "NOT_LEADER"


class HookRunning(ControllerSilent):
    """It answered: what the policy calls before the backup is not done yet."""

    reason = "HOOK_RUNNING"


class SessionUnknown(AgentError):
    """The session ended: the supervisor must say Hello again."""

    reason = "SESSION_UNKNOWN"


class ControllerRefused(AgentError):
    """The controller said no to this very request. `reason` is the controller's."""

    reason = "CONTROLLER_REFUSED"
    next_step = "See the controller's log for this attempt."


class NotTrusted(AgentError):
    """What answered is not the controller that the token or the identity names."""

    reason = "CONTROLLER_NOT_TRUSTED"
    kind = FailureKind.PERMANENT
    next_step = "Check the address, and make a new token with `seawall host token`."


class ClockWrong(AgentError):
    """By this host's clock the controller's certificate is not valid: no handshake can succeed."""

    reason = "CLOCK_WRONG"
    kind = FailureKind.PERMANENT
    next_step = "Set the clocks of both machines right, by NTP, and try again."


class TooManyTries(AgentError):
    """This address offered too many wrong tokens, and the controller listens to it no more for a while."""

    reason = "TOO_MANY_TRIES"
    next_step = "Wait a minute, then try once with a new token of `seawall host token`."


class NotEnrolled(AgentError):
    """This host has no identity yet, or one that cannot be read."""

    reason = "NOT_ENROLLED"
    kind = FailureKind.PERMANENT
    next_step = "Make a token with `seawall host token` and run `seawall agent join TOKEN` on this host."


class AlreadyEnrolled(AgentError):
    """This host has an identity; a second one is made only when asked for."""

    reason = "ALREADY_ENROLLED"
    kind = FailureKind.PERMANENT
    next_step = "Use --force to replace the identity; the controller will then see a new host."


class OutcomeUnknown(AgentError):
    """CompleteAttempt was sent and its answer never came: the point may be committed or not."""

    reason = "OUTCOME_UNKNOWN"
    next_step = "Nothing: the controller knows, and the next run follows it."
