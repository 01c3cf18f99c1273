"""The processes of a test server: started one by one, waited for until S3 answers, ended together. Used by swift and juicefs_gateway."""

import http.client
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PROGRAMS = PROJECT / "build/hostile-s3/bin"


class ServerFailed(Exception):
    """A test server did not come up. The message ends with what was said last."""


def install() -> None:
    """The programs of the hostile servers; nothing where they are there. Raises CalledProcessError."""
    subprocess.run([str(PROJECT / "deploy/install/hostile-s3.sh")], check=True, stdout=subprocess.DEVNULL)


def run(words: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
    """A command that ends by itself. Raises ServerFailed."""
    done = subprocess.run(
        list(map(str, words)), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, env=environment
    )
    if done.returncode != 0:
        raise ServerFailed(f"{words[0]} ended with {done.returncode}: {(done.stderr or done.stdout)[-600:].strip()}")


class Daemons:
    """All are killed when the *thread* that started them ends."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, words: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        with open(self._logs / f"{Path(words[0]).name}.log", "ab") as log:
            started = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *map(str, words)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append(started)

    def wait(self, address: str, port: int, timeout_seconds: float) -> None:
        """Until something answers HTTP there. Raises ServerFailed."""
        deadline = time.monotonic() + timeout_seconds
        while not _answers(address, port):
            if any(one.poll() is not None for one in self._running):
                raise ServerFailed(f"a process ended by itself: {self._last_words()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"no answer in {timeout_seconds:.0f} s: {self._last_words()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """By force, the last one first: what they hold is thrown away. Stopping stopped ones is success."""
        while self._running:
            one = self._running.pop()
            with suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
            one.wait()

    def _last_words(self) -> str:
        words = "".join(path.read_text(errors="replace")[-400:] for path in sorted(self._logs.glob("*.log")))
        return words.strip() or f"see {self._logs}"


def _answers(address: str, port: int) -> bool:
    client = http.client.HTTPConnection(address, port, timeout=2)
    try:
        client.request("GET", "/")
        client.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return True
    finally:
        client.close()
