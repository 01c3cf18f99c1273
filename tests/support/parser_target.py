"""What a target of the fuzzers is, and the two promises that most of them keep. Called by the modules `parser_targets_…`."""

from collections.abc import Callable
from dataclasses import dataclass

from seawall.repository.errors import FormatUnsupported, IntegrityError
from support import format_golden

GOLDEN = format_golden.load()


@dataclass(frozen=True)
class Target:
    """`seeds`: what is mutated. `read`: parses, proves what it accepted, and returns or raises one of `refusals`."""

    seeds: tuple[bytes, ...]
    read: Callable[[bytes], None]
    refusals: tuple[type[Exception], ...] = (IntegrityError, FormatUnsupported)


def only_seed(read: Callable[[bytes], object], *seeds: bytes) -> Callable[[bytes], None]:
    """What is sealed or signed is itself or nothing."""

    def check(body: bytes) -> None:
        read(body)
        assert body in seeds, "altered, and accepted"

    return check


def one_encoding(read: Callable[[bytes], bytes]) -> Callable[[bytes], None]:
    """What is accepted is what would be written."""

    def check(body: bytes) -> None:
        assert read(body) == body, "read as something that is written otherwise"

    return check
