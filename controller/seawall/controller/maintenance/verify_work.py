"""Checking and healing as pieces of the worker's work."""

import resource
from collections.abc import Mapping
from typing import Any

from seawall.controller.maintenance.link import Link
from seawall.controller.maintenance.verify_piped import PipedVerifyLedger
from seawall.controller.maintenance.verify_wire import from_result, to_point
from seawall.repository.checking.check import CheckRequest, CheckResult, check
from seawall.repository.checking.heal import HealResult, heal
from seawall.repository.clock import Clock
from seawall.repository.repository import OpenRepository
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.port import Store
from seawall.repository.store.retry import RetryingStore, RetryPolicy


def run_check(repository: OpenRepository, link: Link, clock: Clock, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """`request`: {"read_data_percent": n}, an operator's; or {"because": "new" | "rolling", "limit_bytes": n}.

    Or {"because": "policy", "limit_bytes": n, "points": [[tenant, VM, point], …], "before_us": n}.
    """
    because = request.get("because", "operator")
    wanted = CheckRequest(
        structure=because == "operator",
        read_data_percent=int(request.get("read_data_percent", 0)),
        limit_bytes=int(request.get("limit_bytes", 0)),
        new_only=because == "new",
        rolling=because == "rolling",
        points=tuple(to_point(each) for each in request.get("points", ())),
        before_us=int(request.get("before_us", 0)),
    )
    began = clock.monotonic_seconds()
    return _result(check(repository, PipedVerifyLedger(link, clock), wanted, clock), began, clock)


def run_heal(
    repository: OpenRepository, link: Link, clock: Clock, request: Mapping[str, Any], settings: Mapping[str, Any]
) -> Mapping[str, Any]:
    """`request`: {"source_url": URL}. `settings`: {"source_credentials": keys of the copy, or null where it needs none}."""
    copy = _copy(request["source_url"], settings["source_credentials"], clock)
    began = clock.monotonic_seconds()
    return _result(heal(repository, PipedVerifyLedger(link, clock), copy), began, clock)


def _copy(url: str, keys: Mapping[str, str] | None, clock: Clock) -> Store:
    credentials = S3Credentials(keys["access_key"], keys["secret_key"]) if keys else None
    return RetryingStore(open_store(url, credentials, clock), clock, RetryPolicy())


def _result(found: CheckResult | HealResult, began_seconds: float, clock: Clock) -> Mapping[str, Any]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_milliseconds = int((used.ru_utime + used.ru_stime) * 1000)
    return from_result(found, int((clock.monotonic_seconds() - began_seconds) * 1000), cpu_milliseconds)
