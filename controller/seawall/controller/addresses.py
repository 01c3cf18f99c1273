"""Addresses as text: "host:port", IPv6 hosts in brackets; several with commas."""

import ipaddress
import re

# Labels of letters, digits, "-" and "_"; other alphabets are written in their xn-- form.
_HOST = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?", re.ASCII
)


def is_host(name: str) -> bool:
    """Whether it may be a DNS name or an IP address (IPv6 without brackets)."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return _HOST.fullmatch(name) is not None
    return "%" not in name


def split_address(address: str) -> tuple[str, int]:
    """(host without brackets, port 0 to 65535). Raises ValueError naming what is wrong."""
    if "://" in address:
        raise ValueError(f"{address!r} is not host:port: leave out what stands before the host")
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{address!r} is not host:port")
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1])), int(port)
    if ":" in host:
        raise ValueError(f"{address!r}: an IPv6 host stands in brackets, as in [::1]:7440")
    if not is_host(host):
        raise ValueError(f"{address!r} is not host:port: {host!r} is no DNS name or IP address")
    return host, int(port)


def split_addresses(text: str) -> list[tuple[str, int]]:
    """Those of several controllers, with commas between them. Raises ValueError."""
    return [split_address(address) for address in text.split(",")]


def join_address(host: str, port: int) -> str:
    """The text of a host and a port."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
