"""`make bench-repository`: the numbers of the repository, beside zstd and restic. Debian 12, as root; uses the images of `make bench`.

ONLY=encode,unchanged,restore,random_reads,collect,index chooses. The results are in build/bench/repository.json; parts that were not run
keep their figures of an earlier run. INDEX_ENTRIES=n: a smaller index. Ends with 1 when something is wrong, never for a slow figure.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.s3.seaweedfs import SeaweedFailed

PROJECT = Path(__file__).parents[3]
sys.path.insert(0, str(PROJECT / "tests"))

from benchmarks.images.comparing import WrongBytes  # noqa: E402
from benchmarks.images.making import image, make_images  # noqa: E402
from seawall.agent.supervisor.process import WORKER_ENVIRONMENT  # noqa: E402
from seawall.repository.store.folder import FolderStore, create_folder  # noqa: E402

from . import collecting, encode, random_reads, restoring, unchanged  # noqa: E402
from .commands import CommandFailed, run  # noqa: E402
from .image_data import make_dense  # noqa: E402
from .pipeline_ends import SETTINGS as BENCH_SETTINGS  # noqa: E402
from .places import RESULT, WORK  # noqa: E402
from .report import FIGURES, Findings  # noqa: E402

NEEDED_BYTES = 30 << 30
"""What the parts write at most at a time: restored disks, a million files, repositories of both tools and copies of them."""
_BEGAN = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - _BEGAN:7.1f} s] {text}", flush=True)


class Bench:
    """One run. `work` is empty; each part gets a folder of its own in it."""

    def __init__(self, work: Path, findings: Findings) -> None:
        self._work = work
        self._findings = findings
        self._dense = work / "dense.raw"

    def parts(self) -> dict[str, Callable[[], None]]:
        return {
            "encode": self._encode,
            "unchanged": self._unchanged,
            "restore": self._restore,
            "random_reads": self._random_reads,
            "collect": self._collect,
            "index": self._index,
        }

    def run(self, chosen: list[str]) -> None:
        """Raises what a part raises; the figures of the parts before it are written."""
        if set(chosen) - {"collect", "index"}:
            say("The image's data, without its holes")
            make_dense(image("base"), self._dense)
        for name in chosen:
            say(name)
            self.parts()[name]()
            self._findings.seconds = time.monotonic() - _BEGAN
            self._findings.write(RESULT)
            say(json.dumps(self._findings.ran[name])[:400])

    def _encode(self) -> None:
        ratio, self._findings.ran["encode"] = encode.measure(self._dense, BENCH_SETTINGS)
        self._findings.figures["encode_vs_zstd_limit"] = round(ratio, 3)

    def _unchanged(self) -> None:
        store = self._store("unchanged")
        speed, self._findings.ran["unchanged"] = unchanged.measure(self._dense, BENCH_SETTINGS, store)
        self._findings.figures["unchanged_mb_per_s"] = round(speed)

    def _restore(self) -> None:
        faster, self._findings.ran["restore"] = restoring.measure(image("base"), self._dense, self._work / "restore")
        self._findings.figures["restore_speedup_vs_restic"] = round(faster, 2)

    def _random_reads(self) -> None:
        self._findings.figures["random_read_ms"], self._findings.ran["random_reads"] = random_reads.measure(
            self._dense, self._work
        )

    def _collect(self) -> None:
        ratio, self._findings.ran["collect"] = collecting.measure(self._work / "collect")
        self._findings.figures["collect_ratio_vs_restic_prune"] = round(ratio, 4)
        shutil.rmtree(self._work / "collect")

    def _index(self) -> None:
        """In a process of its own: what it measures is memory, and this one has much of it by now."""
        folder = self._work / "index"
        folder.mkdir()
        entries = ("--entries", os.environ["INDEX_ENTRIES"]) if os.environ.get("INDEX_ENTRIES") else ()
        printed = run(
            (sys.executable, str(PROJECT / "tests/benchmarks/repository/index.py"), "--folder", str(folder), *entries)
        )
        self._findings.ran["index"] = self._findings.figures["index"] = json.loads(printed)

    def _store(self, name: str) -> FolderStore:
        folder = self._work / name
        create_folder(folder)
        return FolderStore(folder)


def chosen_parts(known: list[str]) -> list[str]:
    """From ONLY. Raises ValueError for a word that is none of them."""
    words = [word for word in os.environ.get("ONLY", "").split(",") if word]
    if unknown := set(words) - set(known):
        raise ValueError(f"ONLY={','.join(sorted(unknown))}: the parts are {', '.join(known)}")
    return [name for name in known if not words or name in words]


def earlier() -> Findings:
    """What an earlier run found, for the parts that are not run now."""
    if not RESULT.exists():
        return Findings()
    found: dict[str, Any] = json.loads(RESULT.read_text())
    return Findings({name: found[name] for name in FIGURES if name in found}, found.get("ran", {}))


def check_space() -> None:
    """Raises CommandFailed: a full disk in the middle would look like somebody's fault."""
    free = shutil.disk_usage(WORK.parent).free
    if free < NEEDED_BYTES:
        raise CommandFailed(f"{WORK.parent} has {free >> 30} GiB free; the bench needs {NEEDED_BYTES >> 30} GiB")


def main() -> int:
    """The exit code."""
    findings = earlier() if os.environ.get("ONLY") else Findings()
    bench = Bench(WORK, findings)
    try:
        chosen = chosen_parts(list(bench.parts()))
        subprocess.run([str(PROJECT / "deploy/install/bench.sh")], check=True)
        make_images(say)
        shutil.rmtree(WORK, ignore_errors=True)
        WORK.mkdir(parents=True)
        check_space()
        bench.run(chosen)
    except (
        CommandFailed,
        SeaweedFailed,
        WrongBytes,
        AssertionError,
        ValueError,
        subprocess.CalledProcessError,
    ) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    print(f"\n{findings.table()}\n")
    say(str(RESULT))
    return 0


def start_as_a_worker() -> None:
    """What runs in this process is a worker's job, so it gets the memory settings of one. Commands that are timed do not inherit them."""
    if any(os.environ.get(name) != value for name, value in WORKER_ENVIRONMENT.items()):
        os.execve(sys.executable, sys.orig_argv, os.environ | WORKER_ENVIRONMENT)
    for name in WORKER_ENVIRONMENT:
        del os.environ[name]


if __name__ == "__main__":
    start_as_a_worker()
    sys.exit(main())
