"""Channels to the controller: mTLS, keepalive and quick reconnects. Used by the supervisor (aio) and by workers (synchronous)."""

import socket
from collections.abc import Sequence
from typing import cast

import grpc

from seawall.agent.control.following import FollowingChannel
from seawall.agent.control.identity import Identity

OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 500),
    # After an outage nobody waits longer than this for his next try: of a thousand hosts that is one in 3 ms.
    ("grpc.max_reconnect_backoff_ms", 3_000),
    ("grpc.service_config", '{"loadBalancingConfig":[{"pick_first":{"shuffleAddressList":true}}]}'),
    ("grpc.use_local_subchannel_pool", 1),  # a renewed certificate must not ride on the old connection
    ("grpc.enable_http_proxy", 0),
)


def worker_channel(identity: Identity, controllers: Sequence[str] = ()) -> grpc.Channel:
    """A synchronous channel with the agent's certificate; of several controllers it finds the one that leads."""
    credentials = _credentials(identity)
    target, options = _target(identity, controllers)
    channel = grpc.secure_channel(target, credentials, options=options)
    addresses = tuple(controllers) or identity.addresses
    if len(addresses) == 1:
        return channel

    def to(address: str) -> grpc.Channel:
        return grpc.secure_channel(address, credentials, options=(*OPTIONS, _named_as(identity)))

    return cast(grpc.Channel, FollowingChannel(channel, to, addresses))


def supervisor_channel(identity: Identity, controllers: Sequence[str] = ()) -> grpc.aio.Channel:
    """An aio channel with the agent's certificate. Call it inside the loop."""
    target, options = _target(identity, controllers)
    return grpc.aio.secure_channel(target, _credentials(identity), options=options)


def enrolment_channel(address: str, ca_pem: bytes) -> grpc.Channel:
    """Server TLS alone, rooted in a CA that the join token pinned."""
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(root_certificates=ca_pem), options=OPTIONS)


def _credentials(identity: Identity) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=identity.ca_bundle_pem.encode(),
        private_key=identity.private_key_pem.encode(),
        certificate_chain=identity.certificate_pem.encode(),
    )


def _target(identity: Identity, controllers: Sequence[str]) -> tuple[str, tuple[tuple[str, str | int], ...]]:
    """One address as it is; several as one shuffled list: each agent begins with another controller, and all answer.

    The certificates of all controllers carry all of their names, and so the one of the first address.
    """
    addresses = tuple(controllers) or identity.addresses
    found = _numeric(addresses) if len(addresses) > 1 else []
    if not found:
        return addresses[0], OPTIONS
    family = found[0][0]
    same = ",".join(address for kind, address in found if kind == family)
    return f"{family}:{same}", (*OPTIONS, _named_as(identity))


def _named_as(identity: Identity) -> tuple[str, str]:
    """The name that every controller's certificate carries."""
    return "grpc.ssl_target_name_override", identity.addresses[0].rpartition(":")[0].strip("[]")


def _numeric(addresses: Sequence[str]) -> list[tuple[str, str]]:
    """(gRPC's scheme, address) of each that can be resolved now."""
    found: list[tuple[str, str]] = []
    for address in addresses:
        host, _, port = address.rpartition(":")
        try:
            family, *_, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        except OSError:
            continue
        text = f"[{place[0]}]:{port}" if family == socket.AF_INET6 else f"{place[0]}:{port}"
        found.append(("ipv6" if family == socket.AF_INET6 else "ipv4", text))
    return found
