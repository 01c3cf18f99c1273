"""A mutation as a caller asked for it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """`hash`: of all that the request says, but for secrets; "" fits any."""

    method: str
    request_id: str
    hash: str = ""
