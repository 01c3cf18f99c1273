"""What agents are told of whom to trust, and what they say of it: at each Hello and each heartbeat. Nothing is written here."""

from collections.abc import Collection
from dataclasses import dataclass

from seawall.controller.certificates.authority import CertificateAuthority
from seawall.controller.certificates.rotation import told_roots
from seawall.controller.certificates.state import Phase
from seawall.controller.store.authority import Said

MOST_TRUSTED = 32
"""Of roots that an agent may name: what is kept of it is bounded."""
_SHA256_BYTES = 32


@dataclass(frozen=True, slots=True)
class Told:
    bundle_pem: bytes = b""
    """Empty: what it trusts is right."""
    renew: bool = False
    """Its certificate is of an authority that is to be retired."""


class Telling:
    """Of one controller process. Belongs to one event loop."""

    def __init__(self, authority: CertificateAuthority) -> None:
        self._authority = authority
        self._version = 0
        self._known: dict[str, Said] = {}
        self._news: dict[str, Said] = {}

    @property
    def bundle_pem(self) -> bytes:
        """For who gets a certificate now; a heartbeat says it better as soon as the certificate is shown."""
        return self._authority.bundle_pem

    def answer(self, agent_id: str, trusted_sha256: Collection[bytes], certificate_pem: bytes) -> Told:
        """To an agent that names the roots that it trusts; one that names none is older than this, and would not listen."""
        if not 0 < len(trusted_sha256) <= MOST_TRUSTED or any(len(each) != _SHA256_BYTES for each in trusted_sha256):
            return Told()
        state, shows = self._authority.state, self._authority.root_above(certificate_pem)
        trusts = frozenset(each.hex() for each in trusted_sha256)
        if state.phase is not Phase.SETTLED:
            self._note(state.version, agent_id, Said(trusts, shows))
        wanted = told_roots(state, shows)
        right = trusts == {each.root_id for each in wanted}
        bundle = b"" if right else "".join(each.root_pem for each in wanted).encode()
        return Told(bundle, shows != state.present.root_id)

    def take(self) -> dict[str, Said]:
        """What is new since the last call."""
        taken, self._news = self._news, {}
        return taken

    def give_back(self, taken: dict[str, Said]) -> None:
        """It could not be stored."""
        self._news = taken | self._news

    def forget(self) -> None:
        """What was stored may have been lost: all is new when it is said again."""
        self._known.clear()

    def _note(self, version: int, agent_id: str, said: Said) -> None:
        if version != self._version:
            self._version = version
            self._known.clear()
        if self._known.get(agent_id) != said:
            self._known[agent_id] = self._news[agent_id] = said
