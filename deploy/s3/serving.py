"""A test server as a process: arguments DIRECTORY ADDRESS PORT [BUCKET...], AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment.

Serves until SIGTERM. `DIRECTORY/serving` appears when the buckets are there.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from seawall.repository.store.location import S3Credentials, S3Location
from seawall.repository.store.s3 import create_bucket


class Server(Protocol):
    """What can be served: it has an endpoint, starts and stops."""

    @property
    def endpoint(self) -> str: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


def serve(make: Callable[[Path, str, int, str, str], Server]) -> None:
    """`make(directory, address, port, access key, secret key)`."""
    directory, address, port, buckets = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:]
    access_key, secret_key = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    endings = {signal.SIGTERM, signal.SIGINT}
    server = make(directory, address, port, access_key, secret_key)
    server.start()  # before the signals are blocked: a child would inherit the mask
    signal.pthread_sigmask(signal.SIG_BLOCK, endings)
    for bucket in buckets:
        create_bucket(S3Location(bucket, endpoint=server.endpoint), S3Credentials(access_key, secret_key))
    (directory / "serving").touch()
    signal.sigwait(endings)
    server.stop()
