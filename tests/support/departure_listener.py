"""A process whose log says on standard output which VMs leave a host by migration, and when it begins to listen.

In a process of its own, as libvirt's event loop belongs to all connections of a process.
"""

import sys
import threading

from seawall.agent.hypervisor.departures import DepartureWatch
from seawall.repository.clock import SystemClock

if __name__ == "__main__":
    DepartureWatch(sys.argv[1], SystemClock()).start()
    threading.Event().wait()
