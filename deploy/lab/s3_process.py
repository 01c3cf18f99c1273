"""The hub's S3 server as one process: `python -m deploy.lab.s3_process DIRECTORY ADDRESS PORT BUCKET`, see deploy.s3.serving.

The server itself is its child and dies with it.
"""

from deploy.s3.seaweedfs import SeaweedFS
from deploy.s3.serving import serve

if __name__ == "__main__":
    serve(SeaweedFS)
