"""Time zones by name, for policy files and for orders that count days. What is wrong with a name is told with those that are like it."""

from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

NO_ZONE = "Factory"
"""tzdata's name for a machine of which nobody said where it stands."""
ANY_ZONE = ("localtime", "posixrules")


class BadZone(ValueError):
    """There is no such zone, or it is another one on each machine; the message says which."""


def zone_named(name: str, shown: str) -> ZoneInfo:
    """`shown`: the name as messages print it. Raises BadZone."""
    if name in zones():
        return ZoneInfo(name)
    if name in (NO_ZONE, *ANY_ZONE):
        raise BadZone(f"{shown} is not the same zone on each machine; name one like Europe/Berlin or UTC")
    alike = [zone for zone in sorted(zones()) if name.lower().replace(" ", "_") in zone.lower()][:3]
    hint = f" Did you mean {' or '.join(alike)}?" if alike else ""
    raise BadZone(f"there is no time zone {shown}; zones are named like Europe/Berlin or UTC.{hint}")


@cache
def zones() -> frozenset[str]:
    """tzdata's own: what a machine adds to them (localtime, its own files) is another zone, or none, on the next controller."""
    return frozenset(files("tzdata").joinpath("zones").read_text("utf-8").split()) - {NO_ZONE}
