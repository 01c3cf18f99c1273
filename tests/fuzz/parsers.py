"""Coverage-guided fuzzing of every target in tests/support/parser_targets.py, by hand (tests/fuzz/README.md says how and what was run).

usage: python tests/fuzz/parsers.py CORPUS [libFuzzer options]     needs atheris on PYTHONPATH

An input is one byte that chooses the target, then what is parsed. Each finding ends the run: libFuzzer writes the input beside the corpus.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

atheris: Any = import_module("atheris")  # installed beside, never in the development environment
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports(include=["seawall.repository"]):
    from support.parser_targets import TARGETS

CHOICES = tuple(TARGETS.values())


def one_input(body: bytes) -> None:
    if not body:
        return
    target = CHOICES[body[0] % len(CHOICES)]
    try:
        target.read(body[1:])
    except target.refusals as refusal:
        assert str(refusal)


def write_seeds(corpus: Path) -> None:
    corpus.mkdir(parents=True, exist_ok=True)
    for number, target in enumerate(CHOICES):
        for position, seed in enumerate(target.seeds):
            (corpus / f"seed-{number}-{position}").write_bytes(bytes([number]) + seed)


def main() -> None:
    write_seeds(Path(sys.argv[1]))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
