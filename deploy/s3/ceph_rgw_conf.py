"""The configuration of a Ceph of one node: as little as a gateway needs, and settings without which it is slow or stays full."""

from pathlib import Path

_QUIET = ("osd", "bluestore", "bdev", "bluefs", "rocksdb", "ms", "auth", "monc", "objclass", "filestore", "paxos")
"""Subsystems that log a lot by default. `rgw` logs at 1: that is its access log."""


def ceph_configuration(directory: Path, address: str, port: int, fsid: str, store_bytes: int) -> str:
    """ceph.conf. The gateway listens on `port`, the monitor on the next one."""
    sections = {
        "global": _everybody(directory, address, port + 1, fsid),
        "mon": {
            "mon data": directory / "mon",
            "mon cluster log file": directory / "log/cluster.log",
            "paxos propose interval": 0.05,
        },
        "osd": {
            "osd data": directory / "osd",
            "osd objectstore": "bluestore",
            "bluestore block create": "true",
            "bluestore block size": store_bytes,
            "osd memory target": 896 << 20,
            "osd class update on start": "false",
            "osd crush update on start": "false",
            "osd op num shards": 2,
        },
        "client": {
            "debug rgw": "1/1",
            # without tcp_nodelay a small GET waits 40 ms
            "rgw frontends": f"beast endpoint={address}:{port} tcp_nodelay=1",
            "rgw run sync thread": "false",
            "rgw enable usage log": "false",
            # deleted space would come back after two hours
            "rgw gc obj min wait": 60,
            "rgw gc processor period": 30,
            "rgw gc processor max time": 30,
        },
    }
    return "\n".join(_section(name, settings) for name, settings in sections.items())


def _everybody(directory: Path, address: str, monitor_port: int, fsid: str) -> dict[str, object]:
    return {
        "fsid": fsid,
        "mon host": f"v2:{address}:{monitor_port}",
        "mon initial members": "a",
        "public addr": address,
        "cluster addr": address,
        **{f"auth {who} required": "none" for who in ("cluster", "service", "client")},
        "auth allow insecure global id reclaim": "false",
        # the gateway wants secure mode to the monitor even with authentication off
        **{f"ms {which} mode": "crc" for which in ("mon client", "client", "cluster", "service")},
        "ms bind ipv6": "false",
        "run dir": directory / "run",
        "admin socket": directory / "run/$name.asok",
        "log file": directory / "log/$name.log",
        "crash dir": directory / "crash",
        "keyring": directory / "keyring",
        **{f"debug {part}": "0/0" for part in _QUIET},
        "osd pool default size": 1,
        "osd pool default min size": 1,
        "osd pool default pg num": 4,
        "osd pool default pgp num": 4,
        "osd pool default pg autoscale mode": "off",
        "osd crush chooseleaf type": 0,
        "mon allow pool size one": "true",
        "mon warn on pool no redundancy": "false",
        "mon max pg per osd": 1000,
        "mon data avail warn": 2,
        "mon data avail crit": 1,
    }


def _section(name: str, settings: dict[str, object]) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())
