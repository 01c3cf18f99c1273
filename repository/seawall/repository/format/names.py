"""What may stand in an object's name. Strict, because names from an agent or a bucket become parts of paths."""

import re

TENANT_PATTERN = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
ID_PATTERN = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

_TENANT = re.compile(TENANT_PATTERN)
_ID = re.compile(ID_PATTERN)


def check_tenant(name: str) -> str:
    """Returns the name: 1 to 63 of a-z, 0-9 and inner hyphens. Raises ValueError."""
    if not _TENANT.fullmatch(name):
        raise ValueError(f"{name!r} is no tenant name: 1 to 63 of a-z, 0-9 and inner hyphens")
    return name


def check_id(name: str) -> str:
    """Returns the name of a VM, point, run or attempt: a lower-case UUID. Raises ValueError."""
    if not _ID.fullmatch(name):
        raise ValueError(f"{name!r} is no lower-case UUID")
    return name
