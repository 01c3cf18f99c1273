"""An older wire between an agent and its controller: all that it did not know is lost on the way, in both directions.

What passes is parsed and written by messages that are made from the older descriptors. So either end may be the older one: it says nothing
that is newer, and hears nothing that is newer.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from seawall.agent.control.channel import supervisor_channel
from seawall.controller.certificates.generation import key_pem, new_key
from support.agent_host import AgentHost
from support.controller_application import Controller

SERVICE = "seawall.api.v1.AgentService"
ROOT = Path(__file__).parents[2]
WIRES = {
    "baseline": ROOT / "proto" / "baseline.binpb",
    "before replicas": ROOT / "tests" / "compat" / "wire-before-replicas.binpb",
    "before policies": ROOT / "tests" / "compat" / "wire-before-policies.binpb",
}
"""Descriptors as they were, newest first."""


@dataclass
class OlderWire:
    """`lost`: names of methods in whose messages something was left out."""

    methods: dict[str, tuple[Any, Any]]
    lost: set[str] = field(default_factory=set)
    address: str = ""

    @classmethod
    def of(cls, descriptors: Path) -> "OlderWire":
        pool = DescriptorPool()
        for file in FileDescriptorSet.FromString(descriptors.read_bytes()).file:
            pool.Add(file)  # type: ignore[no-untyped-call]
        service = pool.FindServiceByName(SERVICE)  # type: ignore[no-untyped-call]
        return cls(
            {
                each.name: (GetMessageClass(each.input_type), GetMessageClass(each.output_type))
                for each in service.methods
            }
        )

    def stripped(self, method: str, kind: Any, body: bytes) -> bytes:
        message = kind.FromString(body)
        before = message.ByteSize()
        message.DiscardUnknownFields()
        if message.ByteSize() != before:
            self.lost.add(method)
        return bytes(message.SerializeToString())


class _Relay(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs alone
    def __init__(self, wire: OlderWire, channel: grpc.aio.Channel) -> None:
        self._wire = wire
        self._channel = channel

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """None, UNIMPLEMENTED, for a method that came later."""
        service, _, method = details.method.strip("/").rpartition("/")
        if service != SERVICE or method not in self._wire.methods:
            return None
        asked, answered = self._wire.methods[method]
        forward = self._channel.unary_unary(details.method, bytes, bytes)

        async def call(body: bytes, context: Any) -> bytes:
            try:
                answer = await forward(self._wire.stripped(method, asked, body), timeout=context.time_remaining())
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "", error.trailing_metadata() or ())
                raise
            return self._wire.stripped(method, answered, answer)

        return grpc.unary_unary_rpc_method_handler(call)


@asynccontextmanager
async def older_wire(descriptors: Path, host: AgentHost, controller: Controller) -> AsyncIterator[OlderWire]:
    """Between the two, for as long as the host's present certificate is good: the controller is spoken to with it."""
    wire = OlderWire.of(descriptors)
    key = new_key()
    shown = controller.application._authority.issue_server(("127.0.0.1",), key.public_key())
    credentials = grpc.ssl_server_credentials(
        [(key_pem(key).reveal(), shown.chain_pem)], host.identity.ca_bundle_pem.encode(), require_client_auth=True
    )
    async with supervisor_channel(host.identity) as channel:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((_Relay(wire, channel),))
        wire.address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
        await server.start()
        try:
            yield wire
        finally:
            await server.stop(1.0)
