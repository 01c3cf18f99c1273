"""From sampled stacks to shares: what the worker was doing when it was on a core. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum

from .measured import Row

_MARKS: Sequence[tuple[str, tuple[str, ...]]] = (
    ("compression", ("zstd", "ZSTD_", "compress (", "HUF_", "FSE_")),
    ("hashing", ("blake3", "chunk_hash", "_hashlib", "md5", "sha256", "hashlib")),
    ("encryption", ("cryptography", "_rust.abi3", "aead", "EVP_", "CRYPTO_", "seal_chunk")),
    ("cutting", ("folds_of", "boundaries (", "_multiarray_umath")),
    ("reading (NBD)", ("libnbd", "nbd.py", "nbd_source")),
    ("uploading (HTTP)", ("urllib3", "http/client", "http.client", "_ssl", "signed_file", "presigned")),
    ("controller (gRPC)", ("grpc", "google/protobuf", "cygrpc")),
    ("packing", ("repository/format/pack.py", "writing/packing.py")),
    ("starting (imports)", ("importlib",)),
)
"""Innermost frame first: the first frame of a stack that carries a mark decides."""
_PAGE = """\
# Where the worker's time goes

Made by `make bench-profile`: the case `full` of `make bench` (a system image of 4 GiB, into Ceph RGW), the worker
sampled by py-spy 100 times a second, native code included. Threads that wait are left out. The profiler slows the run.

Under the profiler: {wall} s, CPU seconds {cpu} (the worker is in the agent's).
Samples of work: {total}. Threads that could work but waited for Python's interpreter lock: {waited} of that on top.

| what | share of the worker's work |
|---|---|
{shares}

The largest parts of the rest, by the innermost Python function:

| function | share |
|---|---|
{rest}
"""
REST = "rest (Python)"

_LOCK_WAIT = "PyThread_acquire_lock_timed"
_INTERPRETER_WAIT = "pthread_cond_timedwait"
_SYSTEM_WAITS = ("read (libc", "recv (libc", "poll (libc", "epoll_wait (libc", "ppoll (libc")


class Doing(Enum):
    """What a sampled thread was about. In a PID namespace the profiler itself cannot tell who sleeps."""

    WORK = "work"
    INTERPRETER = "waits for the interpreter lock"
    WAIT = "waits"


def doing(frames: Sequence[str]) -> Doing:
    if frames[-1].startswith(_SYSTEM_WAITS) or any(frame.startswith(_LOCK_WAIT) for frame in frames):
        return Doing.WAIT
    if any(frame.startswith(_INTERPRETER_WAIT) for frame in frames):
        return Doing.INTERPRETER
    return Doing.WORK


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
    work = [(frames, count) for frames, count in stacks if doing(frames) is Doing.WORK]
    total = sum(count for _, count in work) or 1
    waited = sum(count for frames, count in stacks if doing(frames) is Doing.INTERPRETER)
    rest: Counter[str] = Counter()
    for frames, count in work:
        if category(frames) == REST:
            rest[_own_frame(frames)] += count
    return _PAGE.format(
        total=total,
        waited=f"{waited / total:.0%}",
        wall=f"{row.wall_seconds:.1f}",
        cpu=", ".join(f"{name} {seconds:.1f}" for name, seconds in row.cpu_parts.items()),
        shares="\n".join(f"| {name} | {share:.1%} |" for name, share in shares(work).items()),
        rest="\n".join(f"| `{frame}` | {count / total:.1%} |" for frame, count in rest.most_common(12)),
    )


def _own_frame(frames: Sequence[str]) -> str:
    python = [frame for frame in frames if ".py:" in frame or ".py)" in frame]
    return python[-1] if python else frames[-1]
