"""Where a simulated fleet's hosts stand, and what its VMs share: things that have limits of their own."""

SITES = ("north", "south")
STORAGES = ("nfs:filer-0", "nfs:filer-1", "nfs:filer-2")
"""What several hosts mount: a VM that migrates stays on it."""
LABELS = ("pair-0", "pair-1")
LABELLED = 8
"""How many VMs have one; by turns."""
