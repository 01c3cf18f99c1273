"""Answers to mutations, by request id."""

import sqlalchemy as sa

from seawall.controller.database.tables import idempotency
from seawall.controller.errors import InvalidArgument


class AnswerRows:
    """`Answers` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def answer(self, principal: str, request_id: str, method: str) -> str | None:
        query = sa.select(idempotency).where(
            idempotency.c.principal == principal, idempotency.c.request_id == request_id
        )
        row = self._connection.execute(query).one_or_none()
        if row is None:
            return None
        if row.method != method:
            raise InvalidArgument("REQUEST_ID_REUSED", f"The request id {request_id} was used for {row.method} before.")
        return str(row.answer)

    def remember(self, principal: str, request_id: str, method: str, answer: str, expires_us: int) -> None:
        self._connection.execute(
            sa.insert(idempotency).values(
                principal=principal, request_id=request_id, method=method, answer=answer, expires_us=expires_us
            )
        )

    def forget(self, now_us: int) -> None:
        self._connection.execute(sa.delete(idempotency).where(idempotency.c.expires_us <= now_us))
