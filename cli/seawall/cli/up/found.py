"""The facts that `plan` decides on, read from this machine."""

import socket
import tomllib
from contextlib import suppress
from pathlib import Path

from seawall.cli.up.places import Places
from seawall.cli.up.plan import Found, Membership, membership

CONNECT_SECONDS = 1.0


def found_before_first_start(places: Places) -> Found:
    """A controller's first file is its `kek`."""
    return Found((places.controller / "kek").exists(), (places.agent / "identity.json").exists())


def ca_of_operator_file(path: Path) -> str | None:
    """The CA that it trusts; "" where it cannot be understood, None where there is no file."""
    try:
        return str(tomllib.loads(path.read_text()).get("ca_pem", ""))
    except FileNotFoundError:
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return ""


def own_ca(places: Places) -> str | None:
    """Our controller's root certificate, if it is made."""
    try:
        return (places.controller / "ca" / "root.pem").read_text()
    except FileNotFoundError:
        return None


def membership_of_agent(places: Places, now_us: int) -> Membership:
    """How the identity in the agent's directory stands with the controller beside it."""
    from seawall.agent.control.errors import NotEnrolled
    from seawall.agent.control.identity import load_identity

    # An identity that cannot be read is as good as somebody else's: it is replaced.
    enrolled_ca, expired = "" if (places.agent / "identity.json").exists() else None, False
    with suppress(NotEnrolled):
        identity = load_identity(places.agent)
        # One that knows where it joined recovers by itself.
        expired = identity.expired(now_us) and not identity.enrol_addresses
        enrolled_ca = identity.ca_bundle_pem
    return membership(enrolled_ca, _own_roots(places), expired)


def _own_roots(places: Places) -> tuple[str, ...]:
    """Each that our controller has or had. Damage is the controller's to tell: it then does not start."""
    from seawall.controller.certificates.kept_files import known_roots
    from seawall.controller.config import StatePaths

    with suppress(OSError, ValueError, KeyError, TypeError):
        return known_roots(StatePaths(places.controller))
    return (own_ca(places) or "none",)


def is_free(port: int) -> bool:
    """Whether a server may listen on this port of loopback; one that closed a moment ago does not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether something accepts connections on this port of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
