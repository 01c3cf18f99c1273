"""Processes that end when the one that started them does, however that ends."""

import signal
from collections.abc import Sequence


def dying_with_parent(words: Sequence[str], number: signal.Signals = signal.SIGKILL, user: str = "") -> list[str]:
    """The command line that runs these words so; `user`: as whom, where it is not oneself.

    By util-linux's setpriv and not in a `preexec_fn`, nor by Popen's `user`: with either Python forks instead of vforking, and the fork
    handlers of gRPC, if a thread is using it just then, crash or hang the child before it becomes anything.
    """
    identity = [f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    return ["setpriv", f"--pdeathsig={number.name.removeprefix('SIG')}", *identity, "--", *words]
