"""What an agent costs a host that does nothing, and how long it takes to list many VMs."""

import os
import sys
import time
from pathlib import Path

from deploy.lab.laboratory import Laboratory
from deploy.lab.processes import all_pids
from deploy.lab.waiting import LabFailed, wait_for

_TIMED = """
import sys, time
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
hypervisor = LibvirtHypervisor("qemu:///system")
hypervisor.version()
begun = time.monotonic()
found = hypervisor.domains()
assert len(found) >= int(sys.argv[1]), len(found)
print(time.monotonic() - begun)
"""
_DEFINE = """
set -e
cd /var/lib/libvirt/images
for n in $(seq -w 1 {count}); do
  qemu-img create -q -f qcow2 many$n.qcow2 1G
  cat >many.xml <<END
<domain type='qemu'><name>many$n</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='q35'>hvm</type></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/var/lib/libvirt/images/many$n.qcow2'/>
<target dev='vda' bus='virtio'/></disk></devices></domain>
END
  virsh -q -c qemu:///system define many.xml
done
rm many.xml
"""


def idle_agent(laboratory: Laboratory, host: str, seconds: float) -> dict[str, float]:
    """Its memory, and its share of one core over this time."""
    pid = _supervisor(laboratory, host)
    time.sleep(5)  # what it does when it starts is over
    before = _cpu_ticks(pid)
    time.sleep(seconds)
    used = (_cpu_ticks(pid) - before) / os.sysconf("SC_CLK_TCK")
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return {"rss_mib": round(resident / 1024, 1), "cpu_percent": round(100 * used / seconds, 2)}


def inventory_of_many(laboratory: Laboratory, host: str, count: int) -> dict[str, object]:
    """Defined and not running, as most of a host's VMs may be after a power failure."""
    there = laboratory.hosts[host]
    there.run(["sh", "-c", _DEFINE.format(count=count)], timeout_seconds=600)
    told = there.run([sys.executable, "-c", _TIMED, str(count)], timeout_seconds=120).stdout
    begun = time.monotonic()

    def known() -> bool:
        vms: list[dict[str, object]] = laboratory.seawall_json("vm", "list", "--host", host)["vms"]
        return sum(str(vm["name"]).startswith("many") for vm in vms) == count

    wait_for(f"{count} VMs to be known", known, 180, laboratory.logs)
    return {
        "inventory_200_seconds": round(float(told), 3),
        "inventory_known_seconds": round(time.monotonic() - begun, 1),
    }


def _supervisor(laboratory: Laboratory, host: str) -> int:
    namespace = laboratory.hosts[host].namespace_ids()["pid"]
    for pid in all_pids():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            there = os.stat(f"/proc/{pid}/ns/pid").st_ino == namespace
        except OSError:
            continue
        if there and words[-3:-1] == [b"agent", b"run"]:
            return pid
    raise LabFailed(f"no agent runs on {host}")


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
