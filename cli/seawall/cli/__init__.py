"""The `seawall` command."""

import os

# gRPC reads it when it is imported. Its remarks would stand among our messages; what matters comes as the error of a call.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
