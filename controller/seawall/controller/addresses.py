"""Addresses as text: "host:port", IPv6 hosts in brackets."""

import ipaddress


def split_address(address: str) -> tuple[str, int]:
    """(host without brackets, port 0 to 65535). Raises ValueError naming what is wrong."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{address!r} is not host:port")
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1])), int(port)
    if ":" in host:
        raise ValueError(f"{address!r}: an IPv6 host stands in brackets, as in [::1]:7440")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """The text of a host and a port."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
