"""Where the bench keeps its things: all of it below build/bench, which may be deleted at any time."""

from pathlib import Path

PROJECT = Path(__file__).parents[3]
BENCH = PROJECT / "build/bench"
IMAGES = BENCH / "images"
"""The truth: one raw image each, never opened for writing once it has its name."""
DEBS = BENCH / "debs"
DISKS = BENCH / "disks"
"""What the VMs have: hard links to images under names that stay the same from day to day."""
OUT = BENCH / "out"
FOLDERS = BENCH / "folders"
HOMES = BENCH / "homes"
"""Caches and settings of the other tools."""
WRITES = BENCH / "writes"
PASSING = (DISKS, OUT, FOLDERS, HOMES, WRITES)
"""Of no use after a round."""
RESULT = BENCH / "images.json"
PROFILE = PROJECT / "tests/benchmarks/PROFILE.md"
