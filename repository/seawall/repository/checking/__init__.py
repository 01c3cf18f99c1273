"""Proof that the repository holds what was stored: structure, contents, what damage costs, healing. See DESIGN.md, "Checking"."""
