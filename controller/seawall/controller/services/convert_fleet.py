"""Hosts and VMs: records to messages and back."""

from seawall.api.v1 import resources_pb2
from seawall.controller.admission.storage import keys_of, with_host_name
from seawall.controller.errors import InvalidArgument
from seawall.controller.records.fleet import Vm, VmDisk
from seawall.controller.records.limits import Service
from seawall.controller.services.convert_settings import settings_message
from seawall.controller.services.convert_time import timestamp
from seawall.controller.services.views import HostView, VmView
from seawall.controller.text import printable, sentence
from seawall.repository.format.names import check_id

MOST_DISKS = 256
MOST_TAGS = 64
MOST_STORAGES = 8


def host_message(view: HostView) -> resources_pb2.Host:
    host = view.host
    return resources_pb2.Host(
        host_id=host.id,
        name=host.name,
        online=view.online,
        last_seen_at=timestamp(view.session.last_seen_us if view.session else 0),
        agent_version=host.agent_version,
        hypervisor_version=host.hypervisor_version,
        vm_count=view.vm_count,
        certificate_expires_at=timestamp(host.certificate_expires_us),
        cordoned=host.service is not Service.IN_SERVICE,
        draining=host.service is Service.DRAINING,
        site=host.site,
        revoked=host.revoked,
    )


def vm_message(view: VmView) -> resources_pb2.Vm:
    vm, newest = view.vm, view.newest
    return resources_pb2.Vm(
        vm_id=vm.id,
        name=vm.name,
        host_id=vm.host_id,
        host_name=view.host_name,
        state=vm.state,
        disks=[_disk_message(disk, vm.host_id, view.host_name) for disk in vm.disks],
        last_seen_at=timestamp(vm.last_seen_us),
        last_point_at=timestamp(newest.instant_us if newest else 0),
        last_point_id=newest.id if newest else "",
        last_point_verified=newest is not None and newest.verified,
        last_point_read_back_at=timestamp(newest.read_us if newest else 0),
        present=vm.present,
        policies=view.protection.policies,
        tags=vm.tags,
        settings=settings_message(view.settings),
        unprotected_because=view.protection.in_vain,
    )


def _disk_message(disk: VmDisk, host_id: str, host_name: str) -> resources_pb2.VmDisk:
    return resources_pb2.VmDisk(
        disk=disk.disk,
        size_bytes=disk.size_bytes,
        format=disk.format,
        source=disk.source,
        read_only=disk.read_only,
        device=disk.device,
        storages=[with_host_name(key, host_id, host_name) for key in keys_of(host_id, disk)],
    )


def vm_of(message: resources_pb2.Vm, host_id: str, now_us: int) -> Vm:
    """As a host reports it: the host and the time are ours. Raises InvalidArgument/BAD_VM: ids become parts of objects' names."""
    try:
        vm_id = check_id(message.vm_id)
    except ValueError as error:
        raise InvalidArgument("BAD_VM", f"A VM's id is a lower-case UUID: {error}") from error
    disks = tuple(_disk_of(disk) for disk in message.disks[:MOST_DISKS])
    tags = tuple(dict.fromkeys(tag for each in message.tags[:MOST_TAGS] if (tag := printable(each))))
    return Vm(vm_id, printable(message.name), host_id, printable(message.state), disks, now_us, True, tags)


def _disk_of(disk: resources_pb2.VmDisk) -> VmDisk:
    return VmDisk(
        printable(disk.disk),
        disk.size_bytes,
        printable(disk.format),
        sentence(disk.source),
        disk.read_only,
        printable(disk.device),
        tuple(dict.fromkeys(told for each in disk.storages[:MOST_STORAGES] if (told := sentence(each)))),
    )
