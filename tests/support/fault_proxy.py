"""The laboratory's fault proxy for tests that need no laboratory: one process for the session before the session's S3 server."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from deploy.lab.fault_proxy.control import FaultProxy
from deploy.lab.waiting import wait_for
from deploy.s3.seaweedfs import SeaweedFS

_PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def fault_proxy_process(s3_server: SeaweedFS) -> Iterator[FaultProxy]:
    """It dies with the tests' process, whatever ends that."""
    with tempfile.TemporaryDirectory(prefix="seawall-faults-") as directory:
        control = Path(directory, "control")
        server = urlsplit(s3_server.endpoint)
        words = [sys.executable, "-m", "deploy.lab.fault_proxy", "127.0.0.1", "0"]
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *words, str(server.hostname), str(server.port), str(control)],
            cwd=_PROJECT,
            stdout=subprocess.DEVNULL,
        )
        try:
            port_file = control.with_name("control.port")
            wait_for("the fault proxy", lambda: port_file.exists() or process.poll() is not None, 20)
            yield FaultProxy(control, f"http://127.0.0.1:{port_file.read_text().strip()}")
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture
def fault_proxy(fault_proxy_process: FaultProxy) -> Iterator[FaultProxy]:
    """Without rules; those of a test end with it."""
    yield fault_proxy_process
    fault_proxy_process.clear()
