"""OpenStack Swift with its s3api: honours `If-None-Match`, but lets several writers that come at once all win. A hostile server for tests.

One node, one replica, no Keystone. Needs deploy/install/hostile-s3.sh. As one process, serving until SIGTERM, keys in the environment
(AWS_ACCESS_KEY_ID as `account:user`, AWS_SECRET_ACCESS_KEY):

    python -m deploy.s3.swift DIRECTORY ADDRESS PORT [BUCKET...]

Account, container and object server take PORT+1 to PORT+3.
"""

from pathlib import Path

from deploy.s3.daemons import PROGRAMS, Daemons, install, run
from deploy.s3.serving import serve
from deploy.s3.swift_conf import proxy_configuration, server_configuration, swift_configuration

SERVERS = ("account", "container", "object")
PORTS = 1 + len(SERVERS)


class SwiftS3:
    """One node on a fresh directory."""

    def __init__(self, directory: Path, address: str, port: int, access_key: str, secret_key: str) -> None:
        self.directory = directory
        self.address = address
        self.port = port
        self._keys = (access_key, secret_key)
        self._daemons = Daemons(directory)

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}:{self.port}"

    def start(self, timeout_seconds: float = 60.0) -> None:
        """Returns when S3 answers. Raises ServerFailed; then nothing runs."""
        install()
        configuration = self.directory / "conf"
        for name in ("conf", "cache", "disks/d1"):
            (self.directory / name).mkdir(parents=True)
        (configuration / "swift.conf").write_text(swift_configuration())
        try:
            for number, server in enumerate(SERVERS, 1):
                self._make_ring(server, self.port + number)
                text = server_configuration(server, self.directory, self.address, self.port + number)
                (configuration / f"{server}.conf").write_text(text)
                self._daemons.start([PROGRAMS / f"swift-{server}-server", configuration / f"{server}.conf"])
            proxy = proxy_configuration(self.directory, self.address, self.port, *self._keys)
            (configuration / "proxy.conf").write_text(proxy)
            self._daemons.start([PROGRAMS / "swift-proxy-server", configuration / "proxy.conf"])
            self._daemons.wait(self.address, self.port, timeout_seconds)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._daemons.stop()

    def _make_ring(self, server: str, port: int) -> None:
        builder = self.directory / "conf" / f"{server}.builder"
        for words in (["create", "4", "1", "1"], ["add", f"r1z1-{self.address}:{port}/d1", "1"], ["rebalance"]):
            run([PROGRAMS / "swift-ring-builder", builder, *words])


if __name__ == "__main__":
    serve(SwiftS3)
