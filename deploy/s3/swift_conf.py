"""The configuration files of a one-node Swift: pure text. Used by deploy.s3.swift."""

import getpass
from pathlib import Path

_FILTERS = (
    "catch_errors",
    "gatekeeper",
    "listing_formats",
    "bulk",
    "s3api",
    "tempauth",
    "copy",
    "slo",
    "dlo",
    "symlink",
)


def swift_configuration() -> str:
    """Shared by all servers."""
    return "[swift-hash]\nswift_hash_path_suffix = laboratory\n[storage-policy:0]\nname = default\ndefault = yes\n"


def server_configuration(server: str, directory: Path, address: str, port: int) -> str:
    """Of the account, container or object server."""
    return (
        _defaults(directory, address, port)
        + f"devices = {directory}/disks\nmount_check = false\n"
        + f"[pipeline:main]\npipeline = {server}-server\n"
        + f"[app:{server}-server]\nuse = egg:swift#{server}\nrecon_cache_path = {directory}/cache\n"
    )


def proxy_configuration(directory: Path, address: str, port: int, access_key: str, secret_key: str) -> str:
    """Of the proxy with the s3api. `access_key`: "account:user"."""
    account, _, user = access_key.partition(":")
    filters = "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n{_OPTIONS.get(name, '')}" for name in _FILTERS)
    return (
        _defaults(directory, address, port)
        + f"[pipeline:main]\npipeline = {' '.join(_FILTERS)} proxy-server\n"
        + "[app:proxy-server]\nuse = egg:swift#proxy\nallow_account_management = true\naccount_autocreate = true\n"
        + filters.replace("USER", f"user_{account}_{user} = {secret_key} .admin")
    )


_OPTIONS = {
    "tempauth": "USER\n",
    "s3api": "s3_acl = false\nallow_multipart_uploads = true\nmax_bucket_listing = 1000\n",
}


def _defaults(directory: Path, address: str, port: int) -> str:
    return (
        f"[DEFAULT]\nbind_ip = {address}\nbind_port = {port}\nswift_dir = {directory}/conf\nuser = {getpass.getuser()}\n"
        "log_level = WARNING\nworkers = 0\n"  # in the process itself: a forked one would outlive it when it is killed
    )
