"""How one call of a hook ended."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """`told`: a sentence for operators. It may quote what a command wrote last, never what a webhook answered."""

    succeeded: bool
    told: str
    called: bool = True
    """False: there was nothing that could be called."""
