"""Hosts by the hundred, enrolled with the real controller: each has a key, a certificate and an id of its own."""

import json
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from seawall.api.v1 import enroll_pb2, enroll_pb2_grpc, operator_pb2
from seawall.cli.connection import Controller
from seawall.controller.certificates.generation import key_pem, new_key
from seawall.controller.operator_access import OperatorAccess
from support.controller_shell import csr_of

THREADS = 4


def enrol(controller: Controller, operator_toml: Path, count: int) -> list[dict[str, str]]:
    """Identities of agents, as agents.py reads them."""
    request = operator_pb2.CreateJoinTokenRequest(request_id=str(uuid.uuid4()), max_uses=count)
    token = controller.call(controller.admin.CreateJoinToken, request).token
    token_id, _, secret = token.split(":")[3].partition(".")
    access = OperatorAccess.parse(operator_toml.read_text())
    with grpc.secure_channel(access.address, grpc.ssl_channel_credentials(access.ca_pem.encode())) as channel:
        stub = enroll_pb2_grpc.EnrollServiceStub(channel)

        def one(number: int) -> dict[str, str]:
            key, name = new_key(), f"host-{number:04d}"
            answer = stub.Enroll(
                enroll_pb2.EnrollRequest(token_id=token_id, token_secret=secret, csr_der=csr_of(key), host_name=name),
                timeout=60,
            )
            return {
                "agent_id": answer.agent_id,
                "address": answer.agent_address,
                "certificate_pem": answer.certificate_pem.decode(),
                "private_key_pem": key_pem(key).reveal().decode(),
                "ca_bundle_pem": answer.ca_bundle_pem.decode(),
                "host_name": name,
            }

        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(one, range(count)))


def shared_out(identities: Sequence[dict[str, str]], folder: Path, parts: int) -> list[Path]:
    """Files of identities, one for each load-generating process."""
    files = []
    for part in range(parts):
        file = folder / f"identities-{part}.json"
        file.write_text(json.dumps(identities[part::parts]))
        files.append(file)
    return files
