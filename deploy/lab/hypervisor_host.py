"""A hypervisor host of the laboratory: virtlogd and libvirtd inside a namespace host, and the virsh to speak to them."""

import uuid

from deploy.lab.namespaces import NamespaceHost
from deploy.lab.processes import Service
from deploy.lab.waiting import LabFailed, wait_for

# No AppArmor, no cgroups and no mount namespace per VM: the host is a container already, and cgroups would be shared with the other hosts.
_QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
remember_owner = 0
"""
_LIBVIRTD_CONF = """\
host_uuid = "{host_uuid}"
auth_unix_rw = "none"
log_outputs = "3:stderr"
"""


class HypervisorHost:
    """libvirt on one namespace host. `start` may follow `stop` or `kill`, like a daemon that is restarted while its VMs run on."""

    def __init__(self, host: NamespaceHost) -> None:
        self.host = host
        self._logd: Service | None = None
        self.libvirtd: Service | None = None

    def start(self) -> None:
        self._configure()
        if self._logd is None or not self._logd.running():
            self._logd = self.host.serve("virtlogd", ["virtlogd"])
        self.libvirtd = libvirtd = self.host.serve("libvirtd", ["libvirtd"])
        wait_for(f"libvirtd on {self.host.name}", self._answers, 30, libvirtd.log_tail, every_seconds=0.1)

    def _configure(self) -> None:
        directory = self.host.outside("/etc/libvirt")
        directory.mkdir(parents=True, exist_ok=True)
        host_uuid = uuid.uuid5(uuid.NAMESPACE_DNS, self.host.name)  # there is no machine identity to take it from
        (directory / "qemu.conf").write_text(_QEMU_CONF)
        (directory / "libvirtd.conf").write_text(_LIBVIRTD_CONF.format(host_uuid=host_uuid))
        self.host.outside("/var/lib/libvirt/images").mkdir(parents=True, exist_ok=True)

    def _answers(self) -> bool:
        if self.libvirtd is None or not self.libvirtd.running():
            raise LabFailed(f"libvirtd ended by itself\n{self.libvirtd.log_tail() if self.libvirtd else ''}")
        return self.host.run(["virsh", "-c", "qemu:///system", "uri"], check=False).returncode == 0

    def virsh(self, *words: str, check: bool = True) -> str:
        """Standard output of one virsh command."""
        return self.host.run(["virsh", "-q", "-c", "qemu:///system", *words], check=check).stdout.strip()

    def domains(self) -> list[str]:
        return self.virsh("list", "--all", "--name").split()

    def stop(self) -> None:
        """Stop the daemons; the VMs run on, as on a real host. They end with the namespace host."""
        for daemon in (self.libvirtd, self._logd):
            if daemon is not None:
                daemon.stop()
        self.libvirtd = self._logd = None

    def kill_libvirtd(self) -> None:
        """kill -9 of libvirtd alone."""
        if self.libvirtd is not None:
            self.libvirtd.kill()
