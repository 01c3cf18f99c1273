"""operator.toml: what an operator's command line needs to reach this controller. Written by `controller init`, read by the command line."""

import tomllib
from dataclasses import dataclass

from seawall.controller.errors import InvalidArgument
from seawall.controller.secrets import Secret


@dataclass(frozen=True, slots=True)
class OperatorAccess:
    address: str
    """host:port of the operator port."""
    ca_pem: str
    """The root certificate."""
    token: Secret

    def render(self) -> str:
        """TOML."""
        ca_pem = self.ca_pem.strip()
        return f'address = "{self.address}"\ntoken = "{self.token.reveal().decode()}"\nca_pem = """\n{ca_pem}\n"""\n'

    @classmethod
    def parse(cls, text: str) -> "OperatorAccess":
        """Raises InvalidArgument/BAD_OPERATOR_FILE."""
        try:
            table = tomllib.loads(text)
            return cls(str(table["address"]), str(table["ca_pem"]), Secret(str(table["token"]).encode()))
        except (tomllib.TOMLDecodeError, KeyError) as error:
            raise InvalidArgument(
                "BAD_OPERATOR_FILE", "operator.toml is damaged; move it away and run `controller init` again."
            ) from error
