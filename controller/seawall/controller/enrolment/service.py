"""EnrollService: the gRPC edge of enrolment, on the operator port, without a token of operators."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from grpc import aio

from seawall.api.v1 import enroll_pb2, enroll_pb2_grpc
from seawall.controller.enrolment.enrol import Application, Enrolment
from seawall.controller.enrolment.recover import Recovery, RecoveryClaim
from seawall.controller.enrolment.tries import WrongTries, caller_of
from seawall.controller.errors import Unauthenticated
from seawall.controller.services.convert_time import timestamp
from seawall.controller.text import printable

_log = structlog.get_logger()


class EnrollServicer(enroll_pb2_grpc.EnrollServiceServicer):
    """Errors leave as ControllerError; the status interceptor maps them."""

    def __init__(
        self,
        enrolment: Enrolment,
        recovery: Recovery,
        tries: WrongTries,
        *,
        bundle: Callable[[], bytes],
        agent_address: str,
    ) -> None:
        """`bundle`: whom to trust by now, PEM."""
        self._enrolment = enrolment
        self._recovery = recovery
        self._tries = tries
        self._bundle = bundle
        self._agent_address = agent_address

    async def Enroll(
        self, request: enroll_pb2.EnrollRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> enroll_pb2.EnrollResponse:
        caller = caller_of(context.peer())
        application = Application(request.token_id, request.token_secret, request.csr_der, request.host_name)
        with self._trying(caller, "enrol.refused", wrong="TOKEN_UNKNOWN"):
            agent = await asyncio.to_thread(self._enrolment.enrol, application)
        _log.info("enrol.done", caller=caller, agent_id=agent.agent_id, host=agent.host_name)
        return enroll_pb2.EnrollResponse(
            agent_id=agent.agent_id,
            certificate_pem=agent.certificate_pem,
            ca_bundle_pem=self._bundle(),
            agent_address=self._agent_address,
            expires_at=timestamp(agent.certificate_expires_us),
        )

    async def BeginRecovery(
        self, request: enroll_pb2.BeginRecoveryRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> enroll_pb2.BeginRecoveryResponse:
        self._tries.check(caller_of(context.peer()))
        return enroll_pb2.BeginRecoveryResponse(nonce=self._recovery.begin(request.agent_id))

    async def Recover(
        self, request: enroll_pb2.RecoverRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> enroll_pb2.RecoverResponse:
        caller = caller_of(context.peer())
        claim = RecoveryClaim(request.agent_id, request.nonce, request.csr_der, request.signature)
        with self._trying(caller, "recovery.refused", wrong="RECOVERY_REFUSED", agent_id=printable(request.agent_id)):
            issued = await asyncio.to_thread(self._recovery.recover, claim)
        _log.info("recovery.done", caller=caller, agent_id=request.agent_id)
        return enroll_pb2.RecoverResponse(
            certificate_pem=issued.chain_pem,
            ca_bundle_pem=self._bundle(),
            agent_address=self._agent_address,
            expires_at=timestamp(issued.expires_us),
        )

    @contextmanager
    def _trying(self, caller: str, refused: str, *, wrong: str, **facts: str) -> Iterator[None]:
        """One try of the caller's. `refused`: the event that says so; for the reason `wrong` it counts against the caller.

        Raises ResourceExhausted/TOO_MANY_TRIES.
        """
        self._tries.check(caller)
        try:
            yield
        except Unauthenticated as error:
            if error.reason == wrong:
                self._tries.wrong(caller)
            _log.warning(refused, caller=caller, reason=error.reason, **facts)
            raise
