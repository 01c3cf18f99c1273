"""What several buckets' exports say together. Pure. Each is as old as the last time its bucket could be written to.

Limits, groups and settings: as the newest export has them, whole, or what was taken back since would return. Policies: each at its highest
revision, as deleted ones stay in exports. Users: each as it was changed last, as removed ones stay too. Holds: all of them; one too many
costs room and an operator's word, one too few costs the point.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from seawall.controller.records.known import KnownPolicy, KnownUser, Settled
from seawall.controller.records.policies import Hold


def merged(newest_first: Sequence[Settled]) -> Settled:
    """At least one."""
    newest = newest_first[0]
    return replace(
        newest,
        repositories=tuple({each.id: each for old in reversed(newest_first) for each in old.repositories}.values()),
        policies=tuple(_policies(each for old in newest_first for each in old.policies)),
        holds=tuple(_holds(each for old in newest_first for each in old.holds)),
        users=tuple(_users(each for old in newest_first for each in old.users)),
    )


def _policies(found: Iterable[KnownPolicy]) -> Iterable[KnownPolicy]:
    """Of one revision the first that came counts: the newest export knows whether it was deleted."""
    kept: dict[str, KnownPolicy] = {}
    for each in found:
        if each.id not in kept or each.revision > kept[each.id].revision:
            kept[each.id] = each
    return kept.values()


def _users(found: Iterable[KnownUser]) -> Iterable[KnownUser]:
    kept: dict[str, KnownUser] = {}
    for each in found:
        if each.name not in kept or each.changed_us > kept[each.name].changed_us:
            kept[each.name] = each
    return kept.values()


def _holds(found: Iterable[Hold]) -> Iterable[Hold]:
    kept: dict[str, Hold] = {}
    for each in found:
        kept.setdefault(each.point_id, each)
    return kept.values()
