"""The hub's S3 server as one process: `python -m deploy.lab.s3_process DIRECTORY ADDRESS PORT BUCKET`, keys in the environment.

Serves until SIGTERM. The server itself is its child and dies with it. `DIRECTORY/serving` appears when the bucket is there.
"""

import os
import signal
import sys
from pathlib import Path

from deploy.s3.seaweedfs import SeaweedFS

from seawall.repository.store.location import S3Credentials, S3Location
from seawall.repository.store.s3 import create_bucket


def main() -> None:
    directory, address, port, bucket = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    access_key, secret_key = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    endings = {signal.SIGTERM, signal.SIGINT}
    server = SeaweedFS(directory, address, port, access_key, secret_key)
    server.start()  # before the signals are blocked: a child would inherit the mask
    signal.pthread_sigmask(signal.SIG_BLOCK, endings)
    create_bucket(S3Location(bucket, endpoint=server.endpoint), S3Credentials(access_key, secret_key))
    (directory / "serving").touch()
    signal.sigwait(endings)
    server.stop()


if __name__ == "__main__":
    main()
