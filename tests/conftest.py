"""Fixtures that every kind of test may ask for."""

import os
import signal

from hypothesis import settings

pytest_plugins = ("support.seaweedfs", "support.postgresql", "support.controller_databases")

# How long one example takes says how busy the machine is, not whether the code is right. `make test` tries the same examples each time;
# `make test-slow` looks for new ones.
settings.register_profile("seawall", deadline=None, derandomize="SEAWALL_EXPLORE" not in os.environ)
settings.load_profile("seawall")

# A shell that starts the tests in its background has them ignore Ctrl-C, and with them every process that they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
