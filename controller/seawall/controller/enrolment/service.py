"""EnrollService: the gRPC edge of enrolment, on the operator port, without a token of operators."""

import asyncio
from typing import Any

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from seawall.api.v1 import enroll_pb2, enroll_pb2_grpc
from seawall.controller.enrolment.enrol import Application, Enrolment
from seawall.controller.enrolment.tries import WrongTries, caller_of
from seawall.controller.errors import Unauthenticated

_log = structlog.get_logger()


class EnrollServicer(enroll_pb2_grpc.EnrollServiceServicer):
    """Errors leave as ControllerError; the status interceptor maps them."""

    def __init__(self, enrolment: Enrolment, tries: WrongTries, *, ca_bundle_pem: bytes, agent_address: str) -> None:
        self._enrolment = enrolment
        self._tries = tries
        self._ca_bundle_pem = ca_bundle_pem
        self._agent_address = agent_address

    async def Enroll(
        self, request: enroll_pb2.EnrollRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> enroll_pb2.EnrollResponse:
        caller = caller_of(context.peer())
        self._tries.check(caller)
        application = Application(request.token_id, request.token_secret, request.csr_der, request.host_name)
        try:
            agent = await asyncio.to_thread(self._enrolment.enrol, application)
        except Unauthenticated as error:
            if error.reason == "TOKEN_UNKNOWN":
                self._tries.wrong(caller)
            _log.warning("enrol.refused", caller=caller, reason=error.reason)
            raise
        _log.info("enrol.done", caller=caller, agent_id=agent.agent_id, host=agent.host_name)
        expires_at = Timestamp()
        expires_at.FromMicroseconds(agent.certificate_expires_us)
        return enroll_pb2.EnrollResponse(
            agent_id=agent.agent_id,
            certificate_pem=agent.certificate_pem,
            ca_bundle_pem=self._ca_bundle_pem,
            agent_address=self._agent_address,
            expires_at=expires_at,
        )
