"""Fixtures that every kind of test may ask for."""

from hypothesis import settings

pytest_plugins = ("support.seaweedfs", "support.postgresql", "support.controller_databases")

# How long one example takes says how busy the machine is, not whether the code is right.
settings.register_profile("seawall", deadline=None)
settings.load_profile("seawall")
