"""As whom libvirt runs swtpm: its own default, or what the host's qemu.conf says."""

import grp
import pwd
import re
from contextlib import suppress
from pathlib import Path

_LINE = r'^\s*{key}\s*=\s*"([^"\n]*)"'
_DEFAULT = "tss"


def swtpm_owner(qemu_conf: Path) -> tuple[int, int]:
    """Uid and gid. A user that does not exist is root, as libvirt takes it."""
    text = ""
    with suppress(OSError):
        text = qemu_conf.read_text(encoding="utf-8", errors="replace")
    return _uid(_value(text, "swtpm_user")), _gid(_value(text, "swtpm_group"))


def _value(text: str, key: str) -> str:
    found = re.findall(_LINE.format(key=key), text, re.MULTILINE)
    return found[-1] if found else _DEFAULT


def _uid(name: str) -> int:
    """A name, or a number with or without a plus before it."""
    number = name.removeprefix("+")
    if number.isascii() and number.isdigit():
        return int(number)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return 0


def _gid(name: str) -> int:
    number = name.removeprefix("+")
    if number.isascii() and number.isdigit():
        return int(number)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return 0
