"""python -m tests.soak --rounds 20 --seed 1: see `program`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from soak.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
