"""A Ceph object gateway on this machine: one monitor, one OSD (bluestore on a sparse file), one radosgw, in one directory. Test server.

Needs Debian's radosgw, ceph-mon, ceph-osd and ceph-common. As one process, serving until SIGTERM, keys in the environment
(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY):

    python -m deploy.s3.ceph_rgw DIRECTORY ADDRESS PORT [BUCKET...]

`DIRECTORY/serving` appears when the buckets are there. The daemons are its children and die with it. The monitor takes PORT+1, the
OSD ports from 6800. The gateway's access log is in `DIRECTORY/log/client.rgw.a.log`, in the lines with ` beast: `.
"""

import http.client
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from deploy.s3.ceph_rgw_conf import ceph_configuration
from deploy.s3.serving import serve

STORE_BYTES = 48 << 30


class CephFailed(Exception):
    """The gateway did not come up. The message says which step failed, and ends with what was said."""


class CephGateway:
    """One gateway on a fresh directory. The daemons are killed when the *thread* that called `start` ends."""

    def __init__(self, directory: Path, address: str, port: int, access_key: str, secret_key: str) -> None:
        self.directory = directory
        self.address = address
        self.port = port
        self._access_key = access_key
        self._secret_key = secret_key
        self._daemons: list[subprocess.Popen[bytes]] = []

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}:{self.port}"

    def start(self, timeout_seconds: float = 90.0) -> None:
        """Returns when S3 answers. Raises CephFailed; then nothing runs."""
        deadline = time.monotonic() + timeout_seconds
        try:
            self._make_monitor()
            self._serve("ceph-mon", "-i", "a")
            self._make_osd()
            self._serve("ceph-osd", "-i", "0")
            self._wait("the OSD to be active", self._osd_is_active, deadline)
            self._make_user()
            self._serve("radosgw", "-n", "client.rgw.a")
            self._wait("the gateway to answer", self._answers, deadline)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """The gateway first: the OSD tells the monitor that it goes."""
        while self._daemons:
            daemon = self._daemons.pop()
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    # -- making

    def _make_monitor(self) -> None:
        for name in ("run", "log", "mon", "osd", "crash"):
            (self.directory / name).mkdir(parents=True)
        fsid, keyring, monitors = str(uuid.uuid4()), self.directory / "keyring", self.directory / "monmap"
        text = ceph_configuration(self.directory, self.address, self.port, fsid, STORE_BYTES)
        (self.directory / "ceph.conf").write_text(text)
        keyring.touch(mode=0o600)
        self._run("ceph-authtool", str(keyring), "--gen-key", "-n", "mon.", "--cap", "mon", "allow *", configured=False)
        address = f"[v2:{self.address}:{self.port + 1}]"
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, str(monitors), configured=False)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(monitors), "--keyring", str(keyring))

    def _make_osd(self) -> None:
        name = str(uuid.uuid4())
        self._run("ceph", "osd", "new", name, "0")
        self._run("ceph", "osd", "crush", "add", "0", "1.0", "root=default", "host=localhost")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", name)

    def _make_user(self) -> None:
        keys = [f"--access-key={self._access_key}", f"--secret-key={self._secret_key}"]
        self._run("radosgw-admin", "user", "create", "--uid=admin", "--display-name=admin", *keys)

    # -- running

    @property
    def _configured(self) -> list[str]:
        return ["-c", str(self.directory / "ceph.conf")]

    def _run(self, *words: str, configured: bool = True) -> str:
        command = [words[0], *(self._configured if configured else []), *words[1:]]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise CephFailed(f"{' '.join(words[:3])} ended with {done.returncode}: {done.stderr[-600:].strip()}")
        return done.stdout

    def _serve(self, *words: str) -> None:
        command = ["setpriv", "--pdeathsig", "KILL", words[0], "-f", *self._configured, *words[1:]]
        with open(self.directory / f"log/{words[0]}.out", "ab") as output:
            started = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._daemons.append(started)

    def _wait(self, what: str, attempt: Callable[[], bool], deadline: float) -> None:
        while not attempt():
            if any(daemon.poll() is not None for daemon in self._daemons):
                raise CephFailed(f"a daemon ended while waiting for {what}: see {self.directory / 'log'}")
            if time.monotonic() > deadline:
                raise CephFailed(f"waited in vain for {what}: see {self.directory / 'log'}")
            time.sleep(0.1)

    def _osd_is_active(self) -> bool:
        """Before that a gateway would wait on its own, for longer."""
        socket = self.directory / "run/osd.0.asok"
        asked = ["ceph", "--admin-daemon", str(socket), "status"]
        return socket.exists() and '"state": "active"' in subprocess.run(asked, capture_output=True, text=True).stdout

    def _answers(self) -> bool:
        client = http.client.HTTPConnection(self.address, self.port, timeout=2)
        try:
            client.request("GET", "/")
            return client.getresponse().status == 200
        except OSError:
            return False
        finally:
            client.close()


if __name__ == "__main__":
    serve(CephGateway)
