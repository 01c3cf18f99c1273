"""An operator file for somebody else: whole on disk before the controller hears of its token, and that is the token's hash alone."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from seawall.cli.exits import UNDECIDED, CommandError, Exit, system_error
from seawall.cli.operator_config import OperatorConfig
from seawall.cli.private_file import write_new_private
from seawall.controller.operator_access import OperatorAccess
from seawall.controller.secrets import Secret

TOKEN_BYTES = 32


@contextmanager
def new_operator_file(path: Path, own: OperatorConfig) -> Iterator[bytes]:
    """The SHA-256 of a new token, which stands in a new file at `path`: the controller of one's own file, mode 0600.

    The file is removed again when what is done inside was surely refused. Raises CommandError when anything lies at `path`.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES).encode()
    text = OperatorAccess(own.address, own.ca_pem, Secret(token)).render()
    try:
        write_new_private(path, text)
    except FileExistsError as error:
        told = f"{path} exists. A token is never overwritten: name another file."
        raise CommandError(Exit.REFUSED, "OPERATOR_FILE_EXISTS", told) from error
    except OSError as error:
        raise system_error(error) from error
    try:
        yield sha256(token).digest()
    except CommandError as error:
        if error.code in UNDECIDED:
            told = f"{error} Whether the token in {path} is good by now, `seawall user list` says: it shows since when each token is."
            raise CommandError(error.code, error.reason, told) from error
        with suppress(OSError):
            path.unlink()
        raise
