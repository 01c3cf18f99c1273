"""UUIDv7: ids that sort by the time they were made. Runs, attempts, sessions and repositories are named so; no id is ever used twice."""

import secrets
import uuid

from seawall.repository.clock import Clock


def first_uuid7(now_us: int) -> str:
    """No id that is made from then on is smaller."""
    return str(uuid.UUID(int=(now_us // 1000 & (1 << 48) - 1) << 80))


def uuid7(clock: Clock) -> str:
    """48 bits of milliseconds, then random bits, as RFC 9562 lays them out."""
    milliseconds = clock.now_us() // 1000
    value = (milliseconds & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))
