"""Scopes as operators write them, "host:alpha": names instead of ids. Resolved inside a transaction or over facts."""

from seawall.controller.admission.facts import FleetFacts
from seawall.controller.admission.gates import plain_name
from seawall.controller.admission.storage import POOL
from seawall.controller.errors import InvalidArgument
from seawall.controller.records.limits import Scope, ScopeKey
from seawall.controller.text import NAME_LENGTH

SETTABLE = {scope.value.lower(): scope for scope in Scope if scope is not Scope.VM}


def split_scope(text: str) -> tuple[Scope, str]:
    """("host:alpha") -> (HOST, "alpha"); the key is "" for each of the scope. Raises InvalidArgument/BAD_SCOPE."""
    word, colon, key = text.partition(":")
    scope = SETTABLE.get(word.strip().lower())
    if scope is None:
        known = ", ".join(SETTABLE)
        raise InvalidArgument("BAD_SCOPE", f"{text[:80]!r} is no scope; there are {known}, each but global with :NAME.")
    if scope is Scope.GLOBAL and colon:
        raise InvalidArgument("BAD_SCOPE", f"{text[:80]!r}: global takes no name.")
    if colon and not key:
        raise InvalidArgument("BAD_SCOPE", f"{text[:80]!r}: a name follows the colon; {word} alone means each {word}.")
    if not key.isprintable() or len(key) > NAME_LENGTH * 4:
        raise InvalidArgument("BAD_SCOPE", "A scope's name is printable and not longer than that of any file.")
    return scope, key


def scope_word(facts: FleetFacts, where: ScopeKey) -> str:
    """As `split_scope` takes it."""
    word = where.scope.value.lower()
    return f"{word}:{plain_name(facts, where)}" if where.key else word


def storage_key(facts: FleetFacts, text: str) -> str:
    """The key of a storage written with its host's name; the text itself of a shared one, also where a host is called nfs or rbd."""
    name, _, rest = text.partition(":")
    if rest.startswith(("/", POOL)):
        for host in facts.hosts.values():
            if name in (host.name, host.id):
                return f"{host.id}:{rest}"
    return text
