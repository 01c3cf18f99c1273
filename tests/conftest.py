"""Fixtures that every kind of test may ask for."""

import signal

from hypothesis import settings

pytest_plugins = ("support.seaweedfs", "support.postgresql", "support.controller_databases")

# How long one example takes says how busy the machine is, not whether the code is right.
settings.register_profile("seawall", deadline=None)
settings.load_profile("seawall")

# A shell that starts the tests in its background has them ignore Ctrl-C, and with them every process that they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
