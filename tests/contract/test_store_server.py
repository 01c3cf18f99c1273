"""The S3 test server itself: objects outlive a restart, and it does not outlive its starter."""

import os
import select
import subprocess
import sys
from pathlib import Path

from deploy.s3.seaweedfs import SeaweedFS

from seawall.repository.clock import SystemClock
from seawall.repository.store.locate import create_place, open_store
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.retry import RetryingStore

STARTER = """
import sys, time
from pathlib import Path
from deploy.free_ports import free_ports
from deploy.s3.seaweedfs import PORTS, SeaweedFS
server = SeaweedFS(Path(sys.argv[1]), "127.0.0.1", free_ports(PORTS), "tester", "secret")
server.start()
print(server.pid, server.endpoint, flush=True)
sys.stdin.read()
"""


def test_objects_outlive_the_server_but_the_server_not_its_starter(tmp_path: Path) -> None:
    keys = S3Credentials("tester", "secret")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    ) as starter:
        assert starter.stdout is not None
        pid, endpoint = starter.stdout.readline().decode().split()
        create_place(f"s3://kept?endpoint={endpoint}", keys)
        open_store(f"s3://kept?endpoint={endpoint}", keys).put("v1/x", b"kept")
        ending = os.pidfd_open(int(pid))
        starter.kill()
    try:
        assert select.select([ending], [], [], 10)[0], "the server lives on"
    finally:
        os.close(ending)

    server = SeaweedFS(tmp_path, "127.0.0.1", int(endpoint.rpartition(":")[2]), keys.access_key, keys.secret_key)
    server.start()
    try:
        store = open_store(f"s3://kept?endpoint={server.endpoint}", keys)
        assert RetryingStore(store, SystemClock()).get("v1/x") == b"kept"  # it answers before it knows its volumes
    finally:
        server.stop()
    assert server.pid is None
    assert not list(tmp_path.glob("*.sock"))
