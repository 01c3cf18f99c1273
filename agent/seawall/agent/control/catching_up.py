"""A host that was away while the certificate authority was replaced finds its controller again. Blocking; one try."""

from dataclasses import replace
from pathlib import Path

from seawall.agent.control.errors import ControllerSilent, NotTrusted
from seawall.agent.control.identity import Identity
from seawall.agent.control.pinned import presented_chain
from seawall.agent.control.recovery import recover
from seawall.api.successors import issued_under, successor
from seawall.repository.clock import datetime_of


def catch_up(identity: Identity, state_dir: Path, now_us: int) -> Identity | None:
    """With a certificate under the root that the controller shows now, durable on disk. None: it is not behind, or nobody answers.

    Trusting the new root alone would not do: the host's own certificate is of the old one, which the controller takes no more. So both
    come with one recovery, and a crash before its end leaves all as it was.
    Raises what `recover` raises.
    """
    root = root_ahead(identity, now_us)
    return None if root is None else recover(replace(identity, ca_bundle_pem=root.decode()), state_dir)


def root_ahead(identity: Identity, now_us: int) -> bytes | None:
    """The root that a controller shows now, PEM, if ours leads to it and our certificate is not of it. Nothing is changed."""
    for address in identity.enrol_addresses:
        try:
            shown = presented_chain(address)
        except (ControllerSilent, NotTrusted):
            continue
        root = successor(identity.ca_bundle_pem.encode(), shown, datetime_of(now_us))
        if root is not None and not issued_under(root, identity.certificate_pem.encode()):
            return root
    return None
