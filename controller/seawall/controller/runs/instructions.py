"""What the machine tells its shell to do, besides storing run and attempt, in the same transaction. `scheduler/executions.py` obeys."""

from enum import Enum


class Instruction(Enum):
    WAKE_HOST = "wake host"
    """The host's desired set changed: its generation grows, its poll is answered."""

    COUNT_END = "count end"
    """The attempt is over: the circuit breakers of its host and repository count it."""

    TELL_WATCHERS = "tell watchers"
    """The run is over."""

    DROP_POINT = "drop point"
    """The point that was being published is given up."""

    ANSWER_FORGET = "answer forget"
    """The agent, who asks just now, is told to stop and clean up."""

    ANSWER_CANCEL = "answer cancel"
    """The agent, who asks just now, is told that the run is to stop."""
