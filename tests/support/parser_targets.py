"""Every parser of the repository that meets bytes of others, one target each: seeds, how to read them, what may be refused and how.

Shared by tests/unit/test_fuzz_parsers.py (Hypothesis, every CI run) and tests/fuzz/parsers.py (coverage-guided, by hand). A target's `read`
takes what is mutated and checks by itself that what was accepted is right: AssertionError is a finding, so is any error but `refusals`.
Where bytes are sealed, signed or hashed there are two targets: one over the object as it lies in the bucket, and one over what is inside,
sealed again: else no mutation would ever reach the parser behind the seal.
"""

from support.parser_target import Target
from support.parser_targets_packs import PACKS
from support.parser_targets_records import RECORDS
from support.parser_targets_signed import SIGNED
from support.parser_targets_words import WORDS

__all__ = ["TARGETS", "Target"]

TARGETS: dict[str, Target] = {**SIGNED, **PACKS, **RECORDS, **WORDS}
