"""A JuiceFS gateway: an S3 front that accepts `If-None-Match` and ignores it, as MinIO did for years. A hostile server for tests.

Metadata in SQLite, objects in a folder. Needs deploy/install/hostile-s3.sh. As one process, serving until SIGTERM, keys in the environment
(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, 8 characters at least):

    python -m deploy.s3.juicefs_gateway DIRECTORY ADDRESS PORT [BUCKET...]

It also opens ports on loopback for its own figures (127.0.0.1:6060 and :9567, or the next that are free).
"""

import os
from pathlib import Path

from deploy.s3.daemons import PROGRAMS, Daemons, install, run
from deploy.s3.serving import serve


class JuiceFSGateway:
    """One gateway on a fresh directory."""

    def __init__(self, directory: Path, address: str, port: int, access_key: str, secret_key: str) -> None:
        self.directory = directory
        self.address = address
        self.port = port
        self._environment = {
            **os.environ,
            "MINIO_ROOT_USER": access_key,
            "MINIO_ROOT_PASSWORD": secret_key,
            "HOME": str(directory),  # it keeps notes below it
        }
        self._daemons = Daemons(directory)

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}:{self.port}"

    def start(self, timeout_seconds: float = 60.0) -> None:
        """Returns when S3 answers. Raises ServerFailed; then nothing runs."""
        install()
        objects = self.directory / "objects"
        objects.mkdir(parents=True)
        database = f"sqlite3://{self.directory}/meta.db"
        volume = ["--storage", "file", "--bucket", f"{objects}/", "--trash-days", "0", database, "volume"]
        run([PROGRAMS / "juicefs", "format", "--no-color", *volume], self._environment)
        options = ["--no-color", "--no-usage-report", "--multi-buckets", "--keep-etag"]
        cache = ["--cache-dir", str(self.directory / "cache"), "--cache-size", "64M"]
        try:
            self._daemons.start(
                [PROGRAMS / "juicefs", "gateway", *options, *cache, database, f"{self.address}:{self.port}"],
                self._environment,
            )
            self._daemons.wait(self.address, self.port, timeout_seconds)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._daemons.stop()


if __name__ == "__main__":
    serve(JuiceFSGateway)
