"""Users in exports, and out of them: who was added, changed and removed, each as it was changed last. In transactions of the caller."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from seawall.controller.records.known import KnownUser
from seawall.controller.records.users import Role, User
from seawall.controller.store.transaction import Transaction
from seawall.controller.users.deciding import later


@dataclass(slots=True)
class UsersBack:
    """Names. `there`: those of the export that may speak now; `changed`: whose row is another one than before."""

    there: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def known_user(user: User) -> KnownUser:
    return KnownUser(**asdict(user) | {"role": user.role.value})


def put_back_users(transaction: Transaction, users: Iterable[KnownUser]) -> UsersBack:
    """What was changed here since then stays. May be repeated."""
    done = UsersBack()
    for known in users:
        wanted = User(**asdict(known) | {"role": Role(known.role)})
        here = transaction.users.user(known.name)
        if later(here, wanted):
            if here is None:
                transaction.users.add(wanted)
            else:
                transaction.users.save(here, wanted)
            done.changed.append(known.name)
            here = wanted
        if here is not None and not here.removed_us:
            done.there.append(known.name)
    return done
