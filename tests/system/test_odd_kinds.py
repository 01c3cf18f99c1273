"""Disks of every kind that libvirt has for a VM: chains, old and foreign formats, encryption, devices, networks, odd paths and targets."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from deploy.lab.laboratory import Laboratory

from support.odd_vms import IMAGES, OddDisk, clear_beta, differences, new_disk, odd_vm, operate, restored_vm, starts

pytest_plugins = ["support.laboratory"]
pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]

MIB = 1024 * 1024
SECRET_ID = "5b0b7f3c-55ab-4d6f-9d6e-7d0f3f0a1c11"
_SECRET = f"<secret ephemeral='no' private='no'><uuid>{SECRET_ID}</uuid><usage type='volume'><volume>odd</volume></usage></secret>"
_ENCRYPTION = f"<encryption format='luks'><secret type='passphrase' uuid='{SECRET_ID}'/></encryption>"
_UNLOCKED = ("--object", "secret,id=s0,data=odd", "--image-opts")


@dataclass(frozen=True)
class Kind:
    """Disks of one VM, the controllers that they need, how each is read in an incremental, and what its restore warns of."""

    disks: list[OddDisk]
    how: dict[str, str]
    size_bytes: int = MIB
    extra: str = ""
    warned: tuple[str, ...] = ()


def chain(lab: Laboratory) -> Kind:
    """base <- middle <- top, and the top is larger."""
    alpha, names = lab.hosts["alpha"], [f"{IMAGES}/odd-{name}.qcow2" for name in ("base", "middle", "top")]
    create = ["qemu-img", "create", "-q", "-f", "qcow2"]
    alpha.run([*create, names[0], "2M"])
    alpha.run(["qemu-io", "-f", "qcow2", "-c", "write -P 1 0 2M", names[0]])
    alpha.run([*create, "-b", names[0], "-F", "qcow2", names[1]])
    alpha.run(["qemu-io", "-f", "qcow2", "-c", "write -P 2 512k 512k", names[1]])
    alpha.run([*create, "-b", names[1], "-F", "qcow2", names[2], "4M"])
    return Kind([OddDisk("vda", names[2], "qcow2")], {"vda": "bitmap"}, 4 * MIB)


def formats(lab: Laboratory) -> Kind:
    made = [
        new_disk(lab, "vda", "qcow2", MIB, "-o", "compat=0.10"),
        new_disk(lab, "vdb", "qcow2", MIB, "-o", "cluster_size=512"),
        new_disk(lab, "vdc", "qcow2", MIB, "-o", "cluster_size=2M"),
        new_disk(lab, "vdd", "qcow2", MIB, "-o", "extended_l2=on"),
        new_disk(lab, "vde", "vmdk", MIB),
        new_disk(lab, "vdf", "vdi", MIB),
        new_disk(lab, "vdg", "qed", MIB),
        new_disk(lab, "vdh", "qcow2", MIB, "-o", f"data_file={IMAGES}/odd.data,data_file_raw=on"),
    ]
    by_bitmap = ("vdb", "vdc", "vdd", "vdh")
    return Kind(made, {one.target: "bitmap" if one.target in by_bitmap else "compare" for one in made})


def sectors(lab: Laboratory) -> Kind:
    """Logical blocks of 4 KiB, also on a file that ends in the middle of one."""
    blocks = "<blockio logical_block_size='4096' physical_block_size='4096'/>"
    made = [new_disk(lab, "vda", "qcow2", MIB, inner=blocks), new_disk(lab, "vdb", "raw", MIB + 512, inner=blocks)]
    return Kind(made, {"vda": "bitmap", "vdb": "compare"})


def paths(lab: Laboratory) -> Kind:
    """Names that QEMU, a shell or XML could take for something else."""
    lab.hosts["alpha"].run(["mkdir", "-p", f'{IMAGES}/a dir, with: "quotes" & 名前'])
    names = [
        'a dir, with: "quotes" & 名前/dísk one',
        "comma,format=raw",
        "nbd:host:10809",
        "$(id) `x`;%s",
        "-dash",
        "json:{}",
    ]
    kinds = [(f"vd{'abcdef'[number]}", name) for number, name in enumerate(names)]
    made = [new_disk(lab, target, "qcow2", MIB, path=f"{IMAGES}/{name}.qcow2") for target, name in kinds]
    return Kind(made, {one.target: "bitmap" for one in made})


def many(lab: Laboratory) -> Kind:
    """More than the alphabet has, on the buses that name them otherwise too."""
    names = [*(f"vd{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"), "vdaa", "vdab"]
    made = [new_disk(lab, name, "qcow2", MIB) for name in names]
    made += [new_disk(lab, name, "qcow2", MIB, bus=bus) for name, bus in (("sda", "sata"), ("sdz", "scsi"))]
    return Kind(made, {one.target: "bitmap" for one in made}, extra="<controller type='scsi' model='virtio-scsi'/>")


def swapped(lab: Laboratory) -> Kind:
    """A qcow2 file that the VM takes for a raw disk is one."""
    made = new_disk(lab, "vda", "qcow2", MIB)
    return Kind([replace(made, format="raw")], {"vda": "compare"}, 192 * 1024)


def encrypted(lab: Laboratory) -> Kind:
    """By QEMU: the guest sees plain data, and so does the point."""
    alpha = lab.hosts["alpha"]
    alpha.outside(f"{IMAGES}/secret.xml").write_text(_SECRET)
    virsh = lab.hypervisors["alpha"].virsh
    virsh("secret-define", f"{IMAGES}/secret.xml")
    virsh("secret-set-value", SECRET_ID, "b2Rk")
    secret = ["--object", "secret,id=s0,data=odd"]
    create = ["qemu-img", "create", "-q", *secret, "-f"]
    of_qcow2 = "encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=10"
    alpha.run([*create, "qcow2", "-o", of_qcow2, f"{IMAGES}/odd-enc.qcow2", "1M"])
    alpha.run([*create, "luks", "-o", "key-secret=s0,iter-time=10", f"{IMAGES}/odd-enc.luks", "1M"])
    made = []
    for target, path, disk_format, options in (
        ("vda", f"{IMAGES}/odd-enc.qcow2", "qcow2", "driver=qcow2,encrypt.format=luks,encrypt.key-secret=s0"),
        ("vdb", f"{IMAGES}/odd-enc.luks", "raw", "driver=luks,key-secret=s0"),
    ):
        source = f"<source file='{path}'>{_ENCRYPTION}</source>"
        reader = (*_UNLOCKED, f"{options},file.driver=file,file.filename={path}")
        made.append(OddDisk(target, path, disk_format, source=source, reader=reader))
    return Kind(made, {"vda": "bitmap", "vdb": "compare"}, warned=("DISK_DECRYPTED", "DISK_DECRYPTED"))


def volume_and_network(lab: Laboratory) -> Kind:
    """A volume of a pool, and NBD: no file of this host, but QEMU reads them."""
    alpha, virsh = lab.hosts["alpha"], lab.hypervisors["alpha"].virsh
    virsh("pool-define-as", "odd", "dir", "--target", IMAGES)
    virsh("pool-start", "odd")
    virsh("vol-create-as", "odd", "odd-volume.qcow2", "1M", "--format", "qcow2")
    alpha.run(["truncate", "-s", "1M", f"{IMAGES}/odd-net.raw"])
    alpha.run(["qemu-nbd", "--fork", "-t", "-f", "raw", "-k", "/run/odd-net.sock", f"{IMAGES}/odd-net.raw"])
    volume, served = f"{IMAGES}/odd-volume.qcow2", f"{IMAGES}/odd-net.raw"
    source = "<source protocol='nbd'><host transport='unix' socket='/run/odd-net.sock'/></source>"
    made = [
        OddDisk("vda", volume, "qcow2", source="<source pool='odd' volume='odd-volume.qcow2'/>", kind="volume"),
        OddDisk("vdb", served, "raw", source=source, kind="network"),
    ]
    return Kind(made, {"vda": "compare", "vdb": "compare"})


def sparse(lab: Laboratory) -> Kind:
    """2 TiB with a few sectors in them."""
    made = [new_disk(lab, "vda", "raw", 2 << 40), new_disk(lab, "vdb", "qcow2", 2 << 40)]
    return Kind(made, {"vda": "compare", "vdb": "bitmap"}, 2 << 40)


KINDS = (chain, formats, sectors, paths, many, swapped, encrypted, volume_and_network, sparse)


@pytest.fixture
def tidy(fleet: Laboratory) -> Iterator[None]:
    """What a kind made beside its disks is gone after it."""
    yield
    alpha, virsh = fleet.hosts["alpha"], fleet.hypervisors["alpha"].virsh
    virsh("pool-destroy", "odd", check=False)
    virsh("pool-undefine", "odd", check=False)
    virsh("secret-undefine", SECRET_ID, check=False)
    alpha.run(["pkill", "-f", "odd-net.sock"], check=False)  # inside this host's process ids
    alpha.run(["find", IMAGES, "-mindepth", "1", "-delete"])
    clear_beta(fleet)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_kind_of_disk_comes_back_byte_for_byte(
    fleet: Laboratory, tidy: None, tmp_path: Path, kind: Callable[[Laboratory], Kind]
) -> None:
    """Full, then an incremental on top; both restored as whole VMs that QEMU takes."""
    wanted = kind(fleet)
    sizes = {disk.target: wanted.size_bytes for disk in wanted.disks}
    name = f"odd-{kind.__name__.replace('_', '-')}"
    with odd_vm(fleet, name, wanted.disks, wanted.extra) as vm:
        vm.write_ends(sizes, 7)
        points = {"full": vm.backup()}
        truths = {"full": vm.truth(tmp_path / "full")}
        vm.write_ends(sizes, 9)
        points["incremental"] = vm.backup()
        truths["incremental"] = vm.truth(tmp_path / "incremental")
        vm.await_clean(checkpoints=2)
    shown = operate(fleet, "point", "show", points["incremental"]["point_id"], "--json").json
    assert {row["disk"]: row["how"] for row in shown["disks"]} == wanted.how
    for which, truth in truths.items():
        again = f"{name} {which}"
        answer = operate(fleet, "restore", points[which]["point_id"], "--to", "beta", "--as", again, "--wait", "--json")
        assert answer.code == 0, f"{answer.out}\n{fleet.logs()}"
        assert (
            tuple(row["reason"] for row in answer.json["runs"][0]["warnings"] if "SPACE" not in row["reason"])
            == wanted.warned
        )
        assert differences(truth, restored_vm(fleet, again)) == dict.fromkeys(truth, "")
        starts(fleet, again)
        clear_beta(fleet)
