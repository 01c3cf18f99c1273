"""The session id that a worker speaks under: the supervisor's, told over stdin, replaced when the supervisor had to say Hello again."""

import threading


class CurrentSession:
    """Thread-safe holder; call it for the id."""

    def __init__(self, session_id: str) -> None:
        self._lock = threading.Lock()
        self._session_id = session_id

    def __call__(self) -> str:
        with self._lock:
            return self._session_id

    def replace(self, session_id: str) -> None:
        with self._lock:
            self._session_id = session_id
