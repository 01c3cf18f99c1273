"""Where a simulated fleet's hosts stand, and what its VMs share: things that have limits of their own.

As many as belong to so many hosts: with three storages a thousand hosts would wait for a limit of one of them all day.
"""

LABELS = ("pair-0", "pair-1")
LABELLED = 8
"""How many VMs have one; by turns."""


def sites_of(agents: int) -> tuple[str, ...]:
    return tuple(f"site-{number}" for number in range(max(2, agents // 100)))


def storages_of(agents: int) -> tuple[str, ...]:
    """What several hosts mount: a VM that migrates stays on it."""
    return tuple(f"nfs:filer-{number}" for number in range(max(3, agents // 10)))
