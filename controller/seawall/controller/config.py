"""The controller's configuration: one frozen value, parsed once from an optional TOML file and keyword overrides (the command line's)."""

import dataclasses
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seawall.controller.addresses import is_host, join_address, split_address, split_addresses
from seawall.controller.database_url import check_database_url
from seawall.controller.errors import InvalidArgument
from seawall.controller.timings import Timings

DEFAULT_CONFIG_FILE = Path("/etc/seawall/controller.toml")
DEFAULT_STATE_DIR = Path("/var/lib/seawall/controller")
SYSTEM_OPERATOR_FILE = Path("/etc/seawall/operator.toml")
PATHS = ("state_dir", "operator_file", "database_password_file", "hooks_dir")
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerConfig:
    """Everything that may be set. Addresses are "host:port"; IPv6 hosts stand in brackets.

    The three advertised ones may name several controllers of one database, this one first, with commas.
    """

    state_dir: Path = DEFAULT_STATE_DIR
    """Keys, index, and the database where it is SQLite. Made by `controller init` with mode 0700; on a local disk."""

    agent_listen: str = "0.0.0.0:7441"
    """Where agents are served (mTLS)."""

    operator_listen: str = "0.0.0.0:7440"
    """Where operators and hosts that enrol are served (server TLS)."""

    agent_address: str = ""
    """What agents dial. Empty: this machine's host name and the port of `agent_listen`."""

    enrol_address: str = ""
    """What a host dials to enrol; stands in every join token. Empty: this machine's host name and the port of `operator_listen`."""

    operator_address: str = ""
    """What operator.toml names. Empty: `enrol_address`."""

    server_names: tuple[str, ...] = ()
    """Further DNS names and IP addresses for the server certificate, beside localhost, the host name and the advertised addresses."""

    operator_file: Path | None = None
    """Where `controller init` writes operator.toml. Empty: /etc/seawall/operator.toml with the default state_dir, else beside the state."""

    database: str = ""
    """postgresql://USER@HOST:PORT/NAME, without a password; several HOST:PORT with commas. Empty: SQLite in the state directory."""

    database_password_file: Path | None = None
    """One line, mode 0600: the password of `database`. Empty: as libpq finds it (PGPASSFILE, ~/.pgpass, a service file)."""

    hooks_dir: Path | None = None
    """What policies may call (`seawall hook --help`): its files, which only root or the controller's user may write. Empty: hooks in the
    state directory."""

    log_level: str = "info"
    """debug, info, warning or error."""

    timings: Timings = field(default_factory=Timings)
    """Leases, time-outs, intervals: table [timings]."""

    def __post_init__(self) -> None:
        for name in ("agent_listen", "operator_listen"):
            _check_address(name, getattr(self, name))
        for name in ("agent_address", "enrol_address", "operator_address"):
            if getattr(self, name):
                _check_address(name, getattr(self, name), dialled=True)
        for name in self.server_names:
            if not is_host(name):
                raise InvalidArgument("BAD_CONFIG", f"server_names: {name!r} is no DNS name or IP address")
        if self.database:
            check_database_url(self.database)
        if self.log_level not in LOG_LEVELS:
            raise InvalidArgument("BAD_CONFIG", f"log_level is {self.log_level!r}; it may be {', '.join(LOG_LEVELS)}")

    @property
    def paths(self) -> "StatePaths":
        return StatePaths(self.state_dir)

    @property
    def is_shared(self) -> bool:
        """Whether other controllers may be on the same database: one that a server keeps."""
        return bool(self.database) or self.paths.database_record.exists()

    @property
    def dialled_by_agents(self) -> str:
        """host:port of the agent port, as seen from the hosts."""
        return self.agent_address or _own_address(self.agent_listen)

    @property
    def dialled_to_enrol(self) -> str:
        """host:port of the operator port, as seen from the hosts."""
        return self.enrol_address or _own_address(self.operator_listen)

    @property
    def dialled_by_operators(self) -> str:
        """host:port of the operator port, as seen by operators."""
        return self.operator_address or self.dialled_to_enrol

    def with_bound_ports(self, operator: int, agent: int) -> "ControllerConfig":
        """The same, listening on the ports that were really bound: what is advertised follows where port 0 was asked for."""
        return dataclasses.replace(
            self,
            operator_listen=join_address(split_address(self.operator_listen)[0], operator),
            agent_listen=join_address(split_address(self.agent_listen)[0], agent),
        )

    @property
    def hook_directory(self) -> Path:
        return self.hooks_dir or self.paths.hooks

    @property
    def operator_toml(self) -> Path:
        if self.operator_file is not None:
            return self.operator_file
        return SYSTEM_OPERATOR_FILE if self.state_dir == DEFAULT_STATE_DIR else self.paths.operator_toml

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """Sorted names and IP addresses that the server certificate must cover."""
        dialled = (self.dialled_by_agents, self.dialled_to_enrol, self.dialled_by_operators)
        names = {host for addresses in dialled for host, _ in split_addresses(addresses)}
        return tuple(sorted({*names, *self.server_names, socket.gethostname(), "localhost", "127.0.0.1", "::1"}))


@dataclass(frozen=True, slots=True)
class StatePaths:
    """The name of every file under the state directory."""

    state_dir: Path

    @property
    def marker(self) -> Path:
        """Written last by `initialise`: all the rest is there."""
        return self.state_dir / "initialised.json"

    @property
    def kek(self) -> Path:
        """The key that seals all other secrets; mode 0400."""
        return self.state_dir / "kek"

    @property
    def cluster_id(self) -> Path:
        return self.state_dir / "cluster-id"

    def known_cluster_id(self) -> str:
        """Raises OSError, UnicodeDecodeError."""
        return self.cluster_id.read_text(encoding="ascii").strip()

    @property
    def root_certificate(self) -> Path:
        return self.state_dir / "ca" / "root.pem"

    @property
    def root_key(self) -> Path:
        return self.state_dir / "ca" / "root.key.sealed"

    @property
    def issuing_certificate(self) -> Path:
        return self.state_dir / "ca" / "issuing.pem"

    @property
    def issuing_key(self) -> Path:
        return self.state_dir / "ca" / "issuing.key.sealed"

    @property
    def authority(self) -> Path:
        """JSON: the whole state of the certificate authority, keys sealed. Not there before its first rotation."""
        return self.state_dir / "ca" / "authority.json"

    @property
    def server_certificate(self) -> Path:
        """Server certificate with its chain and sealed key: one file, so that the two can never disagree."""
        return self.state_dir / "server.sealed"

    @property
    def wrapper_key(self) -> Path:
        """The controller's X25519 secret key, sealed: opens the repositories' wrapped keys."""
        return self.state_dir / "wrapper.key.sealed"

    @property
    def operator_token_hash(self) -> Path:
        """SHA-256 of the first operator token, hexadecimal."""
        return self.state_dir / "operator-token.sha256"

    @property
    def operator_toml(self) -> Path:
        return self.state_dir / "operator.toml"

    @property
    def database(self) -> Path:
        """SQLite."""
        return self.state_dir / "controller.sqlite"

    @property
    def database_record(self) -> Path:
        """JSON: which PostgreSQL database `controller init` was told to use. Not there: SQLite."""
        return self.state_dir / "database.json"

    @property
    def hooks(self) -> Path:
        """Commands and webhooks, where the configuration names no other directory. Not made by us."""
        return self.state_dir / "hooks"

    @property
    def lock(self) -> Path:
        """flock: one controller per state directory."""
        return self.state_dir / "lock"

    @property
    def index_dir(self) -> Path:
        """One directory per repository below: `index_of`."""
        return self.state_dir / "index"

    def index_of(self, repository_id: str) -> Path:
        """Where the chunk index of one repository lives."""
        return self.index_dir / repository_id


def load_config(file: Path | None = None, /, **overrides: Any) -> ControllerConfig:
    """File, then overrides (None = not given). Without `file` the default file is read if it exists.

    Raises InvalidArgument/BAD_CONFIG naming the file and the key.
    """
    values: dict[str, Any] = {}
    path = file or DEFAULT_CONFIG_FILE
    if file is not None or path.exists():
        values = _read_file(path)
    given = {key: value for key, value in overrides.items() if value is not None}
    return ControllerConfig(**(values | _typed(given, "the command line")))


def _read_file(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidArgument("BAD_CONFIG", f"{path} cannot be read: {error}") from error
    values = _typed(table, str(path))
    try:
        ControllerConfig(**values)
    except InvalidArgument as error:
        raise InvalidArgument("BAD_CONFIG", f"{path}: {error}") from error
    return values


def _typed(table: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Values of the fields' types. Raises InvalidArgument for an unknown key or a value of another type."""
    known = {each.name for each in dataclasses.fields(ControllerConfig)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise InvalidArgument("BAD_CONFIG", f"{source}: unknown key {key!r}; known are {', '.join(sorted(known))}")
        values[key] = _value_of(key, value, source)
    return values


def _value_of(key: str, value: Any, source: str) -> Any:
    if key == "timings":
        return value if isinstance(value, Timings) else Timings.from_table(value, source)
    if key == "server_names":
        if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) and name for name in value):
            raise InvalidArgument("BAD_CONFIG", f"{source}: {key} must be a list of names")
        return tuple(value)
    if key in PATHS and isinstance(value, (str, Path)) and str(value):
        path = Path(value)
        if not path.is_absolute() or not str(path).isprintable():
            raise InvalidArgument("BAD_CONFIG", f"{source}: {key} must be an absolute path, not {str(value)!r}")
        return path
    if not isinstance(value, str) or key in PATHS:
        raise InvalidArgument("BAD_CONFIG", f"{source}: {key} must be text, not {value!r}")
    return value


def _check_address(name: str, address: str, *, dialled: bool = False) -> None:
    """Port 0 lets the system choose where we listen; nobody can dial it."""
    try:
        if not dialled:
            split_address(address)
        elif any(port == 0 for _, port in split_addresses(address)):
            raise ValueError(f"{address!r}: port 0 cannot be dialled")
    except ValueError as error:
        raise InvalidArgument("BAD_CONFIG", f"{name}: {error}") from error


def _own_address(listen: str) -> str:
    """Any-address listens are dialled by this machine's host name; a particular address by itself."""
    host, port = split_address(listen)
    if host in ("0.0.0.0", "::"):  # noqa: S104  (compared, not bound)
        host = socket.gethostname()
    return join_address(host, port)
