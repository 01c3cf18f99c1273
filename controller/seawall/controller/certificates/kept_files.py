"""The authority's state in the state directory. Before the first rotation: four files, as `controller init` makes them. From then on one.

One file, because a crash between two of several would leave a key beside another one's certificate. `ca/root.pem` stays, for people.
"""

from base64 import b64encode

from seawall.controller.certificates.generation import Generation
from seawall.controller.certificates.state import AuthorityState, first_state
from seawall.controller.config import StatePaths
from seawall.controller.database.columns import dump, load
from seawall.controller.files import write_file


def load_state(paths: StatePaths) -> AuthorityState:
    """Raises FileNotFoundError; ValueError, KeyError, TypeError (damaged)."""
    if paths.authority.exists():
        return load(AuthorityState, paths.authority.read_text(encoding="utf-8"))
    root_key = paths.root_key.read_bytes() if paths.root_key.exists() else b""
    return first_state(
        Generation(
            1,
            paths.root_certificate.read_text(encoding="ascii"),
            paths.issuing_certificate.read_text(encoding="ascii"),
            b64encode(paths.issuing_key.read_bytes()).decode(),
            b64encode(root_key).decode(),
        )
    )


def save_state(paths: StatePaths, state: AuthorityState) -> None:
    """Durable. Files of the first generation go: their keys are in the one file as long as they are good for anything. Raises OSError."""
    write_file(paths.authority, dump(state).encode(), 0o600)
    write_file(paths.root_certificate, state.bundle_pem.encode(), 0o644)
    for path in (paths.issuing_key, paths.root_key, paths.issuing_certificate):
        path.unlink(missing_ok=True)


def known_roots(paths: StatePaths) -> tuple[str, ...]:
    """PEM of each root that this controller has or had. Raises as `load_state`."""
    return load_state(paths).known_roots
