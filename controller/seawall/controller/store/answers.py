"""The store's port: answers to requests that may be sent again."""

from typing import Protocol


class Answers(Protocol):
    """Answers to mutations, by the caller's request id: asked again, the same answer."""

    def answer(self, principal: str, request_id: str, method: str) -> str | None:
        """Raises InvalidArgument/REQUEST_ID_REUSED when the id belongs to another method."""

    def remember(self, principal: str, request_id: str, method: str, answer: str, expires_us: int) -> None: ...

    def forget(self, now_us: int) -> None:
        """Those that expired."""
