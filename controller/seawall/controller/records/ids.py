"""How ids may be given."""

SHORTEST_PREFIX = 8
"""An id may be given by its first digits, so many at least."""
