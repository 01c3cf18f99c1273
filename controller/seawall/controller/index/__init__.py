"""The chunk index: which chunks exist, and where. See DESIGN.md, "Chunk index"."""
