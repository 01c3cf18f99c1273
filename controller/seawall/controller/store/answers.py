"""The store's port: answers to requests that may be sent again."""

from typing import Protocol

from seawall.controller.records.answers import Asked


class Answers(Protocol):
    """Answers to mutations, by the caller's request id: asked again, the same answer."""

    def answer(self, principal: str, asked: Asked) -> str | None:
        """Raises InvalidArgument/REQUEST_ID_REUSED when the id belongs to another method, or to a request that said something else."""

    def remember(self, principal: str, asked: Asked, answer: str, expires_us: int) -> None: ...

    def forget(self, now_us: int) -> None:
        """Those that expired."""
