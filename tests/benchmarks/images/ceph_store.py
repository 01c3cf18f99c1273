"""The Ceph gateway on the laboratory's hub: what lies in its buckets, and what was asked of it."""

import json
import re
import secrets
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from deploy.lab.namespaces import NamespaceHost
from deploy.lab.processes import Service
from deploy.lab.waiting import wait_for

from .places import PROJECT
from .processes import cpu_seconds, of_namespace

_DIRECTORY = "/var/lib/s3/ceph"
_PORT = 8000
_REQUEST = re.compile(r' beast: .*?"(?P<method>[A-Z]+) /(?P<bucket>[^/? ]+)[^"]*" (?P<status>\d+) ')
_DAEMONS = ("ceph-mon", "ceph-osd", "radosgw")


@dataclass(frozen=True)
class LogMark:
    """A place in the access log."""

    offset: int


class CephStore:
    """Started once; ends with the hub, or by `stop`."""

    def __init__(self, hub: NamespaceHost) -> None:
        self._hub = hub
        self.endpoint = f"http://{hub.address}:{_PORT}"
        self.keys = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(24)}
        self._service: Service | None = None

    def start(self, *buckets: str) -> None:
        words = [sys.executable, "-m", "deploy.s3.ceph_rgw", _DIRECTORY, self._hub.address, str(_PORT), *buckets]
        service = self._hub.serve("ceph", words, env={**self.keys, "PYTHONPATH": str(PROJECT)})
        serving = self._hub.outside(f"{_DIRECTORY}/serving")
        wait_for("the Ceph gateway", lambda: serving.exists() or not service.running(), 120, service.log_tail)
        if not service.running():
            raise RuntimeError(f"the Ceph gateway did not start\n{service.log_tail()}")
        self._service = service

    def stop(self) -> None:
        if self._service is not None:
            self._service.stop(60)

    def stored_bytes(self, bucket: str) -> int:
        """Sum of the objects' lengths."""
        words = ["radosgw-admin", "-c", f"{_DIRECTORY}/ceph.conf", "bucket", "stats", "--bucket", bucket]
        usage = json.loads(self._hub.run(words).stdout)["usage"]
        return sum(int(part["size"]) for part in usage.values())

    def cpu_seconds(self) -> float:
        """Of all its daemons, since they began."""
        processes = of_namespace(self._hub.namespace_ids()["pid"])
        return cpu_seconds(processes, lambda command: command.startswith(_DAEMONS))

    def mark(self) -> LogMark:
        return LogMark(self._log.stat().st_size)

    def requests_since(self, mark: LogMark, bucket: str) -> dict[str, int]:
        """How many of each method, and of those that were refused or failed, under `failed`."""
        with open(self._log, errors="replace") as file:
            file.seek(mark.offset)
            return count_requests(file.read(), bucket)

    @property
    def _log(self) -> Path:
        return self._hub.outside(f"{_DIRECTORY}/log/client.rgw.a.log")


def count_requests(log: str, bucket: str) -> dict[str, int]:
    """From lines of the gateway's access log."""
    found = [match for match in _REQUEST.finditer(log) if match["bucket"] == bucket]
    counted = Counter(match["method"] for match in found)
    failed = sum(1 for match in found if int(match["status"]) >= 400 and int(match["status"]) != 404)
    return {**dict(sorted(counted.items())), "failed": failed, "all": len(found)}
