"""A pack's table of contents from the end of the pack, when only the end can be asked for. Shared by the pack readers."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from seawall.repository.errors import IntegrityError
from seawall.repository.format.pack import parse_table
from seawall.repository.format.pack_layout import FOOTER_BYTES, parse_footer

GUESS_BYTES = 64 * 1024
"""The table of most packs is in it."""


def table_by_suffix(suffix: Callable[[int], bytes]) -> NDArray[np.void]:
    """`suffix`: the last so many bytes. The pack's length is taken from its footer: each chunk is proven by itself when it is read.

    Raises IntegrityError, FormatUnsupported, what `suffix` raises.
    """
    tail = suffix(GUESS_BYTES)
    footer = parse_footer(tail[-FOOTER_BYTES:])
    table = parse_table(tail, footer.pack_bytes)
    if isinstance(table, int):
        table = parse_table(suffix(table), footer.pack_bytes)
    if isinstance(table, int):
        raise IntegrityError("the store sent fewer bytes of its end than asked")
    return table
