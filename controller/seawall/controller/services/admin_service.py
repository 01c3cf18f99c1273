"""AdminService on the wire: join tokens, hosts that are revoked, and the certificate authority."""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from grpc import aio

from seawall.api.v1 import operator_pb2, operator_pb2_grpc
from seawall.controller.certificates.rotating import Rotating
from seawall.controller.enrolment.port import EnrolmentStore
from seawall.controller.enrolment.tokens import DEFAULT_TTL_SECONDS, create_join_token
from seawall.controller.secrets import Secret, SecretBox
from seawall.controller.services.convert_authority import authority_message
from seawall.controller.services.convert_time import seconds_of, timestamp
from seawall.controller.services.once import Once, asked_by
from seawall.controller.services.revoking import Revoking
from seawall.repository.clock import Clock

CONTEXT = "answer/join-token"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class EnrolPlace:
    """What a join token names."""

    address: str
    ca_sha256: Callable[[], bytes]
    """Of the root that signs by now."""


class AdminServicer(operator_pb2_grpc.AdminServiceServicer):
    """Errors leave as ControllerError; the status interceptor maps them."""

    def __init__(
        self,
        enrolment: EnrolmentStore,
        revoking: Revoking,
        rotating: Rotating,
        place: EnrolPlace,
        once: Once,
        box: SecretBox,
        clock: Clock,
    ) -> None:
        self._enrolment = enrolment
        self._revoking = revoking
        self._rotating = rotating
        self._place = place
        self._once = once
        self._box = box
        self._clock = clock

    async def CreateJoinToken(
        self, request: operator_pb2.CreateJoinTokenRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> operator_pb2.CreateJoinTokenResponse:
        """The remembered answer holds the token's secret, so it is sealed like every secret at rest."""

        async def act() -> str:
            answer = await asyncio.to_thread(self._create, request)
            return b64encode(self._box.seal(Secret(answer.encode()), CONTEXT)).decode()

        sealed = await self._once.around(asked_by(request), act)
        token, expires_us = json.loads(self._box.open(b64decode(sealed), CONTEXT).reveal())
        return operator_pb2.CreateJoinTokenResponse(token=token, expires_at=timestamp(expires_us))

    async def RevokeHost(
        self, request: operator_pb2.RevokeHostRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> operator_pb2.RevokeHostResponse:
        return operator_pb2.RevokeHostResponse(host=await self._revoking.revoke(asked_by(request), request.host))

    async def GetAuthority(
        self, request: operator_pb2.GetAuthorityRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> operator_pb2.GetAuthorityResponse:
        return operator_pb2.GetAuthorityResponse(authority=authority_message(await self._rotating.standing()))

    async def RotateAuthority(
        self, request: operator_pb2.RotateAuthorityRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> operator_pb2.RotateAuthorityResponse:
        if request.plan_only:
            standing = await self._rotating.standing(request.without)
        else:
            await self._rotating.rotate(asked_by(request), request.without)
            standing = await self._rotating.standing()
        return operator_pb2.RotateAuthorityResponse(authority=authority_message(standing))

    async def CancelRotation(
        self, request: operator_pb2.CancelRotationRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> operator_pb2.CancelRotationResponse:
        await self._rotating.cancel(asked_by(request))
        return operator_pb2.CancelRotationResponse(authority=authority_message(await self._rotating.standing()))

    def _create(self, request: operator_pb2.CreateJoinTokenRequest) -> str:
        ttl_seconds = seconds_of(request.ttl) if request.HasField("ttl") else DEFAULT_TTL_SECONDS
        created = create_join_token(
            self._enrolment,
            self._clock,
            enrol_address=self._place.address,
            ca_sha256=self._place.ca_sha256(),
            ttl_seconds=ttl_seconds,
            max_uses=request.max_uses or 1,
        )
        _log.info("join_token.created", token_id=created.token.token_id, max_uses=request.max_uses or 1)
        return json.dumps([created.token.render(), created.expires_us])
