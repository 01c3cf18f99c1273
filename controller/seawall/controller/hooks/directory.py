"""What may be called: the files of one directory on the controller's machine, put there by whoever administers it.

`NAME`, an executable, is a command; `NAME.toml` is a webhook. Policies, which come from operators, name hooks and nothing else: no path, no
argument, no URL. So an operator can make the controller run, or reach, only what its administrator chose. Read at each call: a file that
is put there, changed or taken away counts from then on.
"""

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from seawall.controller.errors import FailedPrecondition, NotFound
from seawall.controller.text import printable

HOOK_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
WEBHOOK_SUFFIX = ".toml"
KEYS = ("url", "secret", "headers", "ca_file")
LARGEST_FILE_BYTES = 64 * 1024
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_OWN_HEADERS = ("host", "content-length", "content-type", "connection", "transfer-encoding", "idempotency-key")


class Unusable(Exception):
    """Why a file is no hook, as a sentence. It shows nothing of what stands in the file: there may be secrets."""


@dataclass(frozen=True, slots=True)
class Command:
    path: Path


@dataclass(frozen=True, slots=True)
class Webhook:
    """Everything in it may be a secret: many services put theirs into the URL."""

    url: SplitResult = field(repr=False)
    secret: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the directory. `trouble`: why it cannot be called; ""."""

    name: str
    webhook: bool
    trouble: str = ""


class HookDirectory:
    """Blocking, but only for the local disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> frozenset[str]:
        """Of those that can be called."""
        return frozenset(each.name for each in self.found() if not each.trouble)

    def found(self) -> list[Found]:
        """By name, also what cannot be called; hidden files are none."""
        try:
            entries = os.listdir(self.path)
        except OSError:
            return []
        names = sorted({entry.removesuffix(WEBHOOK_SUFFIX) for entry in entries if not entry.startswith(".")})
        return [self._found(name, name + WEBHOOK_SUFFIX in entries) for name in names]

    def load(self, name: str) -> Command | Webhook:
        """Raises NotFound/HOOK_UNKNOWN, FailedPrecondition/HOOK_UNUSABLE."""
        command, webhook = self.path / name, self.path / (name + WEBHOOK_SUFFIX)
        unknown = NotFound("HOOK_UNKNOWN", f"The controller's machine has no hook {name!r} in {self.path}.")
        if not HOOK_NAME.fullmatch(name):
            raise unknown
        try:
            is_command, is_webhook = _there(command), _there(webhook)
            if not (is_command or is_webhook):
                raise unknown
            if is_command and is_webhook:
                raise Unusable(f"there are two of the name: {name} and {name}{WEBHOOK_SUFFIX}")
            _check_owner(self.path, "the directory")  # where it is a symbolic link, too, it is refused
            return _command(command) if is_command else _webhook(webhook)
        except Unusable as error:
            raise FailedPrecondition("HOOK_UNUSABLE", f"Hook {name} cannot be called: {error}.") from error

    def _found(self, name: str, webhook: bool) -> Found:
        if not HOOK_NAME.fullmatch(name):
            return Found(printable(name), False, "No hook can have this name: small letters, digits, - and _ alone.")
        try:
            self.load(name)
        except (NotFound, FailedPrecondition) as error:
            return Found(name, webhook, str(error))
        return Found(name, webhook)


def _there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise Unusable(f"the directory cannot be searched ({error.strerror})") from error
    return True


def _command(path: Path) -> Command:
    status = _check_owner(path, "it")
    if not stat.S_ISREG(status.st_mode):
        raise Unusable("it is no plain file")
    if not os.access(path, os.X_OK):
        raise Unusable("it may not be executed")
    return Command(path)


def _check_owner(path: Path, what: str) -> os.stat_result:
    """Whoever may write it commands the controller. A symbolic link would let its target's owner do so, and is no hook."""
    try:
        status = path.lstat()
    except OSError as error:
        raise Unusable(f"{what} cannot be looked at ({error.strerror})") from error
    if stat.S_ISLNK(status.st_mode):
        raise Unusable(f"{what} is a symbolic link")
    if status.st_uid not in (0, os.geteuid()):
        raise Unusable(f"{what} belongs neither to root nor to the controller's user")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unusable(f"{what} may be written by others than its owner")
    return status


def _webhook(path: Path) -> Webhook:
    status = _check_owner(path, "it")
    if status.st_mode & (stat.S_IRGRP | stat.S_IROTH):
        raise Unusable("it may be read by others than its owner, and holds secrets (chmod 600)")
    if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_FILE_BYTES:
        raise Unusable(f"it is no plain file of at most {LARGEST_FILE_BYTES // 1024} KiB")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Not even as a cause: the parser's message quotes the line.
        raise Unusable("it cannot be read as TOML") from None
    unknown = sorted(table.keys() - set(KEYS))
    if unknown:
        raise Unusable(f"it has a key that is not known; known are {', '.join(KEYS)}")
    ca_file = _text(table, "ca_file")
    if ca_file and not Path(ca_file).is_absolute():
        raise Unusable("ca_file must be an absolute path")
    return Webhook(_url(_text(table, "url")), _text(table, "secret"), _headers(table.get("headers", {})), ca_file)


def _text(table: Mapping[str, object], key: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str) or not value.isprintable():
        raise Unusable(f"{key} must be a printable text")
    return value


def _url(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        raise Unusable("url is no URL") from None
    plain = url.scheme == "http" and host in LOOPBACK
    if not host or not text.isascii() or " " in text or not (plain or url.scheme == "https"):
        raise Unusable("url must begin with https:// (http:// only for this machine itself) and name a host")
    if url.username is not None or url.fragment:
        raise Unusable("url must hold neither a user nor a fragment; use headers")
    return url


def _headers(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise Unusable("headers must be a table")
    for name, text in value.items():
        if not _HEADER.fullmatch(name) or name.lower() in _OWN_HEADERS or name.lower().startswith("seawall-"):
            raise Unusable("headers has a name that is no header's, or one of the controller's own")
        if not isinstance(text, str) or not text.isascii() or not text.isprintable():
            raise Unusable("headers must hold printable texts")
    return dict(value)
