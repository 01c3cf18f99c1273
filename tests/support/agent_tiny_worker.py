"""A worker of a few lines for the supervisor's tests: it speaks the pipe and does what its VM's name says, no more.

work        one progress report, then waits for orders; obeys a stop and says how it ended
stubborn    the same, but no stop moves it
crash       dies with code 3 after a last word on stderr
done        succeeds at once
settle      hands in and hears nothing
loud        says more than a pipe holds on stderr, then succeeds
"""

import os
import signal
import sys

from seawall.agent.control.messages import TRANSFERRING, DiskProgress, Progress
from seawall.agent.worker.pipe import (
    End,
    Ended,
    Event,
    NewSession,
    Step,
    Stop,
    StopReason,
    event_line,
    parse_job,
    parse_order,
)


def say(event: Event) -> None:
    sys.stdout.buffer.write(event_line(event))
    sys.stdout.buffer.flush()


def main() -> int:
    job = parse_job(sys.stdin.buffer.readline())
    behaviour = job.assignment.vm_name
    attempt_id = job.assignment.ref.attempt_id
    if behaviour in ("stubborn", "settle"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say(Progress(attempt_id, 1, TRANSFERRING, f"pid {os.getpid()}", (DiskProgress("vda", 100, 100, 42, how="full"),)))
    if behaviour == "crash":
        print("the disk is on fire", file=sys.stderr)
        return 3
    if behaviour == "loud":
        for number in range(4_000):
            print(f"line {number} " + 80 * "x", file=sys.stderr)
    if behaviour in ("done", "loud"):
        say(Step.FINISHING)
        say(Ended(End.SUCCEEDED))
        return 0
    if behaviour == "settle":
        say(Step.COMMITTING)
    seq = 1
    for line in iter(sys.stdin.buffer.readline, b""):
        order = parse_order(line)
        if isinstance(order, NewSession):
            seq += 1
            say(Progress(attempt_id, seq, TRANSFERRING, f"session {order.session_id}"))
        elif isinstance(order, Stop) and behaviour not in ("stubborn", "settle"):
            say(
                Ended(
                    {
                        StopReason.CANCELED: End.UNREPORTED,
                        StopReason.FENCED: End.FENCED,
                        StopReason.AGENT: End.UNREPORTED,
                    }[order.reason]
                )
            )
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
