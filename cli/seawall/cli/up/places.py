"""The names of all files that `seawall up` keeps. Pure."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

DEFAULT_STATE_DIR = Path("/var/lib/seawall")
SYSTEM_SETTINGS = Path("/etc/seawall")
SYSTEM_RUN_DIR = Path("/run/seawall")


@dataclass(frozen=True, slots=True)
class Places:
    """Everything below one state directory, but for sockets and, with the default one, the settings in /etc/seawall.

    With the default directory these are the places that `seawall controller run` and `seawall agent run` use by themselves: init scripts
    may take over from `up` at any time.
    """

    state_dir: Path
    """Absolute."""

    @property
    def is_default(self) -> bool:
        return self.state_dir == DEFAULT_STATE_DIR

    @property
    def settings(self) -> Path:
        """What was chosen at the first start: written before anything else is made, so that whatever is beside it is `up`'s own."""
        return self.state_dir / "up.json"

    @property
    def lock(self) -> Path:
        """flock: one `up` per state directory."""
        return self.state_dir / "up.lock"

    @property
    def controller(self) -> Path:
        return self.state_dir / "controller"

    @property
    def controller_marker(self) -> Path:
        """Written last by the controller's initialisation."""
        return self.controller / "initialised.json"

    @property
    def controller_lock(self) -> Path:
        """Held by the controller as long as it lives."""
        return self.controller / "lock"

    @property
    def agent(self) -> Path:
        return self.state_dir / "agent"

    @property
    def agent_lock(self) -> Path:
        """Held by the agent as long as it lives."""
        return self.agent / "agent.lock"

    @property
    def join_token(self) -> Path:
        """The token of a join that is not finished: used again, so that a join that was cut short enrols this host once."""
        return self.state_dir / "join-token"

    @property
    def repository(self) -> Path:
        """The folder that is used where no other place is named."""
        return self.state_dir / "repository"

    @property
    def recovery_sheet(self) -> Path:
        return self.state_dir / "recovery-main.txt"

    @property
    def scratch_dir(self) -> Path:
        return self.state_dir / "scratch"

    @property
    def run_dir(self) -> Path:
        """Short whatever the state directory is: a socket's path may have 107 bytes."""
        if self.is_default:
            return SYSTEM_RUN_DIR / "agent"
        return SYSTEM_RUN_DIR / f"up-{hashlib.sha256(str(self.state_dir).encode()).hexdigest()[:8]}"

    def log_of(self, child: str) -> Path:
        return self.state_dir / "logs" / f"{child}.log"

    @property
    def settings_dir(self) -> Path:
        """operator.toml, and controller.toml and agent.toml for what `up` has no option for."""
        return SYSTEM_SETTINGS if self.is_default else self.state_dir

    @property
    def operator_file(self) -> Path:
        return self.settings_dir / "operator.toml"

    def config_of(self, child: str) -> Path:
        """The child's own settings file, which need not be there."""
        return self.settings_dir / f"{child}.toml"
