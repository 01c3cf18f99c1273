"""Collects what no point needs: mark, condemn, delete, compact. See DESIGN.md, "Collection"."""
