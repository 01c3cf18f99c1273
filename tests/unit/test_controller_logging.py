"""What the controller's log may show: what happened and where, never the values that were at hand."""

import io
import json
import sys
from collections.abc import Iterator

import pytest
import structlog

from seawall.controller.app import log_to_stderr
from seawall.controller.secrets import Secret

KEY = "AKIA-the-secret-of-a-bucket"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    before = structlog.get_config()
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    log_to_stderr("info")
    yield written
    structlog.configure(**before)


def fail_with(key: str) -> None:
    held = {"key": key, "sealed": Secret(key.encode())}
    raise RuntimeError(f"{len(held)} things were at hand")


def test_tracebacks_show_no_local_values(log: io.StringIO) -> None:
    try:
        fail_with(KEY)
    except RuntimeError:
        structlog.get_logger().exception("rpc.failed", secret=Secret(KEY.encode()))
    (line,) = log.getvalue().splitlines()
    event = json.loads(line)
    assert "RuntimeError: 2 things were at hand" in event["exception"]
    assert KEY not in line
    assert event["secret"] == "***"
