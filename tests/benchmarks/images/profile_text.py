"""From sampled stacks to shares: what the worker was doing when it was on a core. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from .measured import Row

_MARKS: Sequence[tuple[str, tuple[str, ...]]] = (
    ("compression", ("zstd", "ZSTD_", "compress (", "HUF_", "FSE_")),
    ("hashing", ("blake3", "chunk_hash", "_hashlib", "md5", "sha256", "hashlib")),
    ("encryption", ("cryptography", "_rust.abi3", "aead", "EVP_", "CRYPTO_", "seal_chunk")),
    ("cutting", ("folds_of", "boundaries (", "_multiarray_umath")),
    ("reading (NBD)", ("libnbd", "nbd.py", "nbd_source")),
    ("uploading (HTTP)", ("urllib3", "http/client", "http.client", "_ssl", "signed_file", "presigned")),
    ("controller (gRPC)", ("grpc", "google/protobuf", "cygrpc")),
)
"""Innermost frame first: the first frame of a stack that carries a mark decides."""
REST = "rest (Python)"
CATEGORIES = (*(name for name, _ in _MARKS), REST)


def category(frames: Sequence[str]) -> str:
    """Of one stack, outermost frame first."""
    for frame in reversed(frames):
        for name, marks in _MARKS:
            if any(mark in frame for mark in marks):
                return name
    return REST


def parse_stacks(raw: str) -> Iterator[tuple[list[str], int]]:
    """Lines `frame;frame;frame count`."""
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        if stack and count.isdecimal():
            yield stack.split(";"), int(count)


def shares(stacks: Iterable[tuple[list[str], int]]) -> dict[str, float]:
    """Per category, of all samples; largest first."""
    counted: Counter[str] = Counter()
    for frames, count in stacks:
        counted[category(frames)] += count
    total = sum(counted.values()) or 1
    return {name: count / total for name, count in counted.most_common()}


def profile_page(raw: str, row: Row) -> str:
    """The whole of PROFILE.md."""
    stacks = list(parse_stacks(raw))
    lines = [f"| {name} | {share:.1%} |" for name, share in shares(stacks).items()]
    rest = Counter[str]()
    for frames, count in stacks:
        if category(frames) == REST:
            rest[_own_frame(frames)] += count
    total = sum(count for _, count in stacks) or 1
    named = [f"| `{frame}` | {count / total:.1%} |" for frame, count in rest.most_common(12)]
    return "\n".join(
        [
            "# Where the worker's time goes",
            "",
            "Made by `make bench-profile`: the case `full` of `make bench` (a system image of 4 GiB, into Ceph RGW), the worker",
            "sampled by py-spy 100 times a second, native code included, threads on a core only. The profiler itself slows the run.",
            "",
            f"Samples: {total}. Under the profiler: {row.wall_seconds:.1f} s, CPU seconds "
            + ", ".join(f"{name} {seconds:.1f}" for name, seconds in row.cpu_parts.items())
            + ".",
            "",
            "| what | share of the worker's samples |",
            "|---|---|",
            *lines,
            "",
            "The largest parts of the rest, by the innermost Python function:",
            "",
            "| function | share |",
            "|---|---|",
            *named,
            "",
        ]
    )


def _own_frame(frames: Sequence[str]) -> str:
    python = [frame for frame in frames if ".py:" in frame or ".py)" in frame]
    return python[-1] if python else frames[-1]
