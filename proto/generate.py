"""Build hook: generates the Python stubs of proto/seawall/api/v1 beside their sources.

Called by hatchling for wheels and editable installs, and by `make proto` directly. The stubs are not committed: two branches that add a
field would conflict inside `_pb2.py`.
"""

import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROTO = Path(__file__).resolve().parent


def generate() -> None:
    """Run protoc with the Python, gRPC and mypy plugins over every .proto file; raises SystemExit when protoc refuses one."""
    import grpc_tools
    from grpc_tools import protoc

    # protoc finds protoc-gen-mypy by PATH, which a virtual environment that was not activated lacks.
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", ""), sysconfig.get_path("scripts")])
    sources = sorted(str(path) for path in PROTO.glob("seawall/api/v1/*.proto"))
    wellknown = Path(grpc_tools.__file__).parent / "_proto"
    outputs = [f"--{plugin}_out={PROTO}" for plugin in ("python", "grpc_python")]
    outputs += [f"--mypy_out=quiet:{PROTO}", f"--mypy_grpc_out=quiet:{PROTO}"]
    if protoc.main(["protoc", f"-I{PROTO}", f"-I{wellknown}", *outputs, *sources]) != 0:
        sys.exit("protoc refused the sources in proto/seawall/api/v1")


class GenerateStubs(BuildHookInterface[Any]):
    """hatchling's custom build hook."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        generate()


if __name__ == "__main__":
    generate()
