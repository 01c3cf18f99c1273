"""The recovery sheet: a text file to print and keep off site. With it and the bucket, everything can be restored without a controller.

Rendered by the client that adds a repository, parsed by rescue.
"""

import shlex
from dataclasses import dataclass

from seawall.repository.crypto.recovery import parse_recovery_key, recovery_key_text
from seawall.repository.errors import FormatUnsupported, IntegrityError
from seawall.repository.format.record import LINEAGE_ID_BYTES

_TITLE = "SEAWALL RECOVERY SHEET 1"
_TITLE_START = "SEAWALL RECOVERY SHEET"
_SIGNING_KEY_BYTES = 32
_GROUPS_PER_LINE = 4


@dataclass(frozen=True, slots=True)
class RecoverySheet:
    """What the paper holds. `secret_key` does not show in the repr."""

    secret_key: bytes  # X25519
    lineage_id: bytes
    signing_public_key: bytes  # Ed25519: whose signatures to believe
    repository_url: str

    def __repr__(self) -> str:
        return f"RecoverySheet(***, {self.lineage_id.hex()}, {self.repository_url!r})"


_FORM = """\
{title}

Repository:         {url}
Lineage:            {lineage}
Signing public key: {signing}
Recovery key:
{key}

Keep this sheet away from the repository and from the controller. Whoever holds it and can read the repository can
read every backup in it. Without it, and without the controller, nobody can.

To restore without a controller, on any machine with Seawall and access to the repository{credentials}:

    seawall rescue --repository {quoted} --key THIS-FILE list
    seawall rescue --repository {quoted} --key THIS-FILE restore POINT --to DIRECTORY

POINT is an id from the list, or enough of its first digits. A restore that was cut short goes on when it is started
again with the same words. If this sheet is on paper, type it in as a text file: the first line, the four fields, and a
blank line after the key.

The key may be typed in any case; hyphens and blanks do not matter; 0 and O, 1 and I and L are taken for one another.
"""

_CREDENTIALS = """,
with the bucket's credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"""


@dataclass(frozen=True, slots=True, repr=False)
class RecoveryMaterial:
    """What a file with a recovery key holds: a sheet all of it, a bare key no more than itself. Prints as ***."""

    secret_key: bytes
    sheet: RecoverySheet | None

    def __repr__(self) -> str:
        return "RecoveryMaterial(***)"


def render_recovery_sheet(sheet: RecoverySheet) -> str:
    """The whole text file."""
    return _FORM.format(
        title=_TITLE,
        url=sheet.repository_url,
        quoted=shlex.quote(sheet.repository_url),
        credentials=_CREDENTIALS if sheet.repository_url.startswith("s3:") else "",
        lineage=sheet.lineage_id.hex(),
        signing=sheet.signing_public_key.hex(),
        key="\n".join(f"    {line}" for line in _key_lines(sheet.secret_key)),
    )


def parse_recovery_sheet(text: str) -> RecoverySheet:
    """Raises IntegrityError or WrongKey saying which line is wrong, FormatUnsupported for a newer sheet."""
    lines = [line.strip() for line in text.splitlines()]
    title = next((line for line in lines if line), "")
    if title != _TITLE:
        if title.startswith(_TITLE_START):
            raise FormatUnsupported(f"recovery sheet: {title!r}; this Seawall reads {_TITLE!r}: upgrade it")
        raise IntegrityError(f"recovery sheet: its first line is {title!r}, not {_TITLE!r}")
    return RecoverySheet(
        secret_key=parse_recovery_key(_key_text(lines)),
        lineage_id=_hex_field(lines, "Lineage", LINEAGE_ID_BYTES),
        signing_public_key=_hex_field(lines, "Signing public key", _SIGNING_KEY_BYTES),
        repository_url=_field(lines, "Repository"),
    )


def parse_recovery_material(text: str) -> RecoveryMaterial:
    """A whole sheet, or the key alone: typed in, or as `repo add` leaves it when it was cut short (a line of words and a blank one first).

    Raises WrongKey, IntegrityError, FormatUnsupported.
    """
    lines = [line.strip() for line in text.splitlines()]
    if _TITLE in lines:
        lines = lines[lines.index(_TITLE) :]  # a letter may come before it
    title = next((line for line in lines if line), "")
    if not title:
        raise IntegrityError("recovery key: the file is empty")
    if title.startswith(_TITLE_START) or any(line.startswith("Recovery key:") for line in lines):
        sheet = parse_recovery_sheet("\n".join(lines))
        return RecoveryMaterial(sheet.secret_key, sheet)
    if title.endswith(":"):
        lines = lines[lines.index(title) + 1 :]
    return RecoveryMaterial(parse_recovery_key(" ".join(lines)), None)


def _key_lines(secret_key: bytes) -> list[str]:
    groups = recovery_key_text(secret_key).split("-")
    starts = range(0, len(groups), _GROUPS_PER_LINE)
    return ["-".join(groups[start : start + _GROUPS_PER_LINE]) for start in starts]


def _key_text(lines: list[str]) -> str:
    """The lines below "Recovery key:" up to the next blank one."""
    start = next((at for at, line in enumerate(lines) if line.startswith("Recovery key:")), None)
    if start is None:
        raise IntegrityError("recovery sheet: the line 'Recovery key:' is missing")
    end = next((at for at in range(start + 1, len(lines)) if not lines[at]), len(lines))
    return " ".join([lines[start].partition(":")[2], *lines[start + 1 : end]])


def _field(lines: list[str], name: str) -> str:
    found = [line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:")]
    if len(found) != 1 or not found[0]:
        raise IntegrityError(f"recovery sheet: the line '{name}:' is missing, empty or there twice")
    return found[0]


def _hex_field(lines: list[str], name: str, length_bytes: int) -> bytes:
    text = _field(lines, name)
    try:
        value = bytes.fromhex(text)
    except ValueError as error:
        raise IntegrityError(f"recovery sheet: '{name}:' is not hexadecimal") from error
    if len(value) != length_bytes:
        raise IntegrityError(f"recovery sheet: '{name}:' has {len(value)} bytes, not {length_bytes}")
    return value
