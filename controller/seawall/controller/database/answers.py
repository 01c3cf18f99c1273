"""Answers to mutations, by request id."""

import sqlalchemy as sa

from seawall.controller.database.tables import idempotency
from seawall.controller.errors import InvalidArgument
from seawall.controller.records.answers import Asked


class AnswerRows:
    """`Answers` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def answer(self, principal: str, asked: Asked) -> str | None:
        query = sa.select(idempotency).where(
            idempotency.c.principal == principal, idempotency.c.request_id == asked.request_id
        )
        row = self._connection.execute(query).one_or_none()
        if row is None:
            return None
        if row.method != asked.method:
            raise _reused(asked, f"was used for {row.method} before")
        # Rows of before there were hashes say nothing of the request.
        if row.request_hash and asked.hash and row.request_hash != asked.hash:
            raise _reused(asked, f"was used for another {row.method} before, which said something else")
        return str(row.answer)

    def remember(self, principal: str, asked: Asked, answer: str, expires_us: int) -> None:
        self._connection.execute(
            sa.insert(idempotency).values(
                principal=principal,
                request_id=asked.request_id,
                method=asked.method,
                answer=answer,
                expires_us=expires_us,
                request_hash=asked.hash,
            )
        )

    def forget(self, now_us: int) -> None:
        self._connection.execute(sa.delete(idempotency).where(idempotency.c.expires_us <= now_us))


def _reused(asked: Asked, why: str) -> InvalidArgument:
    return InvalidArgument(
        "REQUEST_ID_REUSED",
        f"The request id {asked.request_id} {why}. Nothing was done now: a request needs an id of its own, and only its repetition "
        "has the same one.",
    )
