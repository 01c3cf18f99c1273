"""Fixtures that every kind of test may ask for."""

import os
import signal
import sys

import structlog
from hypothesis import settings

pytest_plugins = ("support.seaweedfs", "support.postgresql", "support.controller_databases")

# How long one example takes says how busy the machine is, not whether the code is right. `make test` tries the same examples each time;
# `make test-slow` looks for new ones.
settings.register_profile("seawall", deadline=None, derandomize="SEAWALL_EXPLORE" not in os.environ)
settings.load_profile("seawall")

# A shell that starts the tests in its background has them ignore Ctrl-C, and with them every process that they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Standard output is what commands answer with. Remarks of parts that run in the tests' own process go where every service's do.
structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
