"""Join tokens: what an operator pastes on a host to enrol it. Rendered by the controller, parsed by the agent.

    sw1:<enrolment host:port[,host:port...]>:<token id>.<secret>:<SHA-256 of the root certificate's DER, hexadecimal>

The last part is what lets a host that knows nothing yet recognise its controller: it trusts the root certificate of exactly that hash.
"""

import re
from dataclasses import dataclass, field

PREFIX = "sw1"
SECRET_BYTES = 32

_ADDRESS = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}"
_TOKEN = re.compile(
    rf"sw1:(?P<address>{_ADDRESS}(?:,{_ADDRESS}){{0,15}})"
    r":(?P<token_id>[A-Za-z0-9_-]{1,64})\.(?P<secret>[A-Za-z0-9_-]{1,128})"
    r":(?P<ca_sha256>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A parsed token. The secret does not show in `repr`."""

    address: str
    """host:port; IPv6 hosts in brackets. Several controllers: with commas."""
    token_id: str
    secret: str = field(repr=False)
    ca_sha256: bytes
    """32 bytes."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """host:port of each controller."""
        return tuple(self.address.split(","))

    def render(self) -> str:
        """The text. Raises ValueError when a part could not be parsed back."""
        text = f"{PREFIX}:{self.address}:{self.token_id}.{self.secret}:{self.ca_sha256.hex()}"
        if parse_join_token(text) != self:
            raise ValueError(f"not a join token: address {self.address!r}, id {self.token_id!r}")
        return text


def parse_join_token(text: str) -> JoinToken:
    """Raises ValueError saying what a token looks like; never repeats the secret."""
    match = _TOKEN.fullmatch(text.strip())
    if match is None or not all(_is_dialled(address) for address in match["address"].split(",")):
        raise ValueError(
            "this is not a join token; it looks like sw1:<host:port>:<id>.<secret>:<64 hexadecimal digits>, in one piece"
        )
    return JoinToken(match["address"], match["token_id"], match["secret"], bytes.fromhex(match["ca_sha256"]))


def _is_dialled(address: str) -> bool:
    return int(address.rpartition(":")[2]) in range(1, 65536)
