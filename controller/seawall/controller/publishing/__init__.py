"""From what an attempt hands in to a committed restore point. See DESIGN.md, "Publication"."""
