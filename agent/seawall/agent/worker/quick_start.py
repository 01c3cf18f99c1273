"""Imported before all else by the worker's process: every backup and restore waits for its start, and this makes it a fifth shorter.

structlog looks for rich, which colours what people read in a terminal: a worker writes JSON. And what imports make stays to the end, so
that the garbage collector need not walk it, now or later.
"""

import gc
import sys

sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # the import system's word for "not there"
gc.disable()


def started() -> None:
    """All is imported: from here on garbage is collected, of what comes."""
    gc.freeze()
    gc.enable()
