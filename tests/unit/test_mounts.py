"""What a path lies on, from the text of /proc/self/mountinfo as kernels write it: escapes, nested mounts, binds, subvolumes, servers."""

import pytest

from seawall.agent.disk.mounts import Mount, Mounts, parse_mounts

# A hypervisor with its images on two servers, one of them bind mounted; btrfs subvolumes; ZFS datasets; an automount that was used.
FLEET = r"""
22 1 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
23 1 0:5 / /dev rw,nosuid shared:2 - devtmpfs udev rw,size=8120208k,nr_inodes=2030052,mode=755,inode64
24 23 0:24 / /dev/shm rw,nosuid,nodev shared:4 - tmpfs tmpfs rw,inode64
1 0 254:1 / / rw,relatime shared:1 - ext4 /dev/mapper/vg0-root rw,errors=remount-ro
30 1 254:3 / /srv/fast rw,relatime shared:30 - xfs /dev/mapper/vg0-fast rw,attr2,inode64,logbufs=8,noquota
31 1 254:3 /images /images rw,relatime shared:30 - xfs /dev/mapper/vg0-fast rw,attr2,inode64,logbufs=8,noquota
40 1 0:52 / /mnt/nas rw,relatime shared:40 - nfs4 nas:/vol1 rw,vers=4.2,hard,proto=tcp,clientaddr=192.0.2.7,local_lock=none,addr=192.0.2.9
41 1 0:52 /vms /var/lib/libvirt/images rw,relatime shared:40 - nfs4 nas:/vol1 rw,vers=4.2,hard,proto=tcp,addr=192.0.2.9
42 40 0:53 / /mnt/nas/sub rw,relatime shared:41 - nfs4 nas:/vol1/sub rw,vers=4.2,hard,proto=tcp,addr=192.0.2.9
43 1 0:54 / /mnt/old rw,relatime shared:42 - nfs nas:/vol2/ rw,vers=3,hard,proto=tcp,addr=192.0.2.9
50 1 0:60 /@home /home rw,relatime shared:50 - btrfs /dev/sdb2 rw,ssd,space_cache=v2,subvolid=257,subvol=/@home
51 1 0:60 /@vms /vms rw,relatime shared:51 - btrfs /dev/sdb2 rw,ssd,space_cache=v2,subvolid=258,subvol=/@vms
52 1 0:60 /@vms/web /vms/web rw,relatime shared:52 - btrfs /dev/sdb2 rw,ssd,space_cache=v2,subvolid=300,subvol=/@vms/web
60 1 0:70 / /tank rw,xattr,noacl shared:60 - zfs tank rw,xattr,noacl
61 60 0:71 / /tank/vm-101 rw,xattr,noacl shared:61 - zfs tank/vm-101 rw,xattr,noacl
62 60 0:72 / /tank/vm-102 rw,xattr,noacl shared:62 - zfs tank/vm-102 rw,xattr,noacl
70 1 0:80 / /auto rw,relatime shared:70 - autofs systemd-1 rw,fd=29,pgrp=1,timeout=0,minproto=5,maxproto=5,direct,pipe_ino=1234
71 70 0:81 / /auto rw,relatime shared:71 - nfs4 nas:/auto rw,vers=4.2
72 1 0:82 / /net rw,relatime shared:72 - autofs /etc/auto.net rw,fd=7,pgrp=99,timeout=300,minproto=5,maxproto=5,indirect,pipe_ino=99
80 1 0:90 / /gl rw,relatime shared:80 - fuse.glusterfs gl1:/images rw,user_id=0,group_id=0,default_permissions,allow_other,max_read=131072
81 1 0:91 / /ceph rw,relatime shared:81 - ceph seawall@b3acc0dd-7a61-4a3f-b8e2-1c2b3d4e5f60.cephfs=/ rw,secret=<hidden>,acl
82 1 0:92 / /smb rw,relatime shared:82 - cifs //nas/vms rw,vers=3.1.1,cache=strict,username=kvm,addr=192.0.2.9
83 1 253:7 / /cluster rw,relatime shared:83 - gfs2 /dev/mapper/san-images rw,lockproto=lock_dlm,locktable=c:images
84 1 0:93 / /shared rw,relatime shared:84 - virtiofs vmstore rw
85 1 0:94 / /s3 rw,relatime shared:85 - fuse.s3fs s3fs rw,user_id=0,group_id=0,allow_other
90 1 0:99 / /var/lib/docker/overlay2/1f/merged rw,relatime shared:90 - overlay overlay rw,lowerdir=/a:/b,upperdir=/c,workdir=/d
"""

# Written by Linux 6.18 in a mount namespace; 63 was mounted over the folder that the rest, made from inside of it, lies on.
KERNEL = r"""
43 42 254:0 / / rw,relatime - ext4 /dev/vda rw,discard,resv_strict,resuid=65534,resgid=65534
64 43 0:40 / /m/a\040b rw,relatime - tmpfs my\040source rw,size=1024k
65 43 0:41 / /m/t\011b rw,relatime - tmpfs x rw,size=1024k
66 43 0:42 / /m/n\012l rw,relatime - tmpfs x rw
67 43 0:43 / /m/b\134s rw,relatime - tmpfs x rw
68 43 0:44 / /m/h#h rw,relatime - tmpfs x rw
71 43 0:45 / /m/over rw,relatime - overlay overlay rw,lowerdir=low,upperdir=up,workdir=work,uuid=on
72 43 254:0 /m/nested/in /m/bind rw,relatime - ext4 /dev/vda rw,discard,resv_strict,resuid=65534,resgid=65534
73 43 0:47 / /m/nested/in rw,relatime - tmpfs hidden rw
74 73 0:48 / /m/nested/in/deep rw,relatime - tmpfs hidden2 rw
75 43 0:49 / /m/nested rw,relatime - tmpfs above rw
76 64 0:50 / /m/a\040b rw,relatime - tmpfs second rw
"""


def mounts(text: str) -> Mounts:
    return Mounts(parse_mounts(text))


def no_links(_path: str) -> str:
    return ""


def held_by(text: str, path: str) -> Mount:
    mount, _ = mounts(text).holding(path, no_links)
    assert mount is not None
    return mount


def name_of(text: str, path: str) -> str:
    return mounts(text).name(held_by(text, path))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/var/lib/libvirt/images/web/disk.qcow2", "nfs:nas:/vol1"),
        ("/mnt/nas/vms/web/disk.qcow2", "nfs:nas:/vol1"),
        ("/mnt/nas/sub/disk.qcow2", "nfs:nas:/vol1/sub"),
        ("/mnt/old/disk.raw", "nfs:nas:/vol2"),
        ("/mnt/nasty/disk.raw", "/"),
        ("/auto/disk.raw", "nfs:nas:/auto"),
        ("/gl/a", "glusterfs:gl1:/images"),
        ("/ceph/a/b", "ceph:b3acc0dd-7a61-4a3f-b8e2-1c2b3d4e5f60.cephfs=/"),
        ("/smb/a", "cifs://nas/vms"),
        ("/cluster/a", "gfs2:/dev/mapper/san-images"),
        ("/shared/a", "virtiofs:vmstore"),
    ],
)
def test_a_server_is_one_storage_wherever_it_is_mounted(path: str, name: str) -> None:
    assert name_of(FLEET, path) == name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/etc/a.raw", "/"),
        ("/srv/fast/images/web/disk.raw", "/images"),  # a bind mount of a part of it, with fewer parts
        ("/images/web/disk.raw", "/images"),
        ("/home/a/disk.raw", "/home"),
        ("/vms/web/disk.raw", "/home"),
        ("/tank/vm-101/disk.raw", "/tank"),
        ("/tank/vm-102/disk.raw", "/tank"),
        ("/s3/disk.raw", "/s3"),
        ("/var/lib/docker/overlay2/1f/merged/disk.raw", "/var/lib/docker/overlay2/1f/merged"),
    ],
)
def test_a_local_device_is_one_storage_by_one_of_its_mount_points(path: str, name: str) -> None:
    assert name_of(FLEET, path) == name


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/m/t\tb/x", "x"),
        ("/m/n\nl/x", "x"),
        ("/m/b\\s/x", "x"),
        ("/m/h#h/x", "x"),
        ("/m/a b/x", "second"),
        ("/m/a c/x", "/dev/vda"),
        ("/m/nested/in/deep/x", "above"),
        ("/m/nested", "above"),
        ("/m/bind/deep/x", "/dev/vda"),
        ("//m/./over//x", "overlay"),
        ("/m/over/../a b", "second"),
        ("/", "/dev/vda"),
    ],
)
def test_names_are_unescaped_and_what_another_mount_hides_is_not_found(path: str, source: str) -> None:
    assert held_by(KERNEL, path).source == source


def test_a_bind_mount_of_the_root_is_the_root() -> None:
    assert name_of(KERNEL, "/m/bind/deep/x") == "/"


def test_a_file_system_is_named_by_where_it_is_seen() -> None:
    text = (
        "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /m rw - ext4 /dev/b rw\n3 1 8:2 / /mnt/data rw - ext4 /dev/b rw\n"
    )
    covered = text + "4 2 8:3 / /m rw - ext4 /dev/c rw\n"
    assert name_of(text, "/mnt/data/x") == "/m"
    assert (name_of(covered, "/mnt/data/x"), name_of(covered, "/m/x")) == ("/mnt/data", "/m")


def test_links_are_followed_on_local_file_systems_and_nothing_of_a_server_is_looked_at() -> None:
    links = {"/var/vms": "../mnt", "/mnt/web": "/mnt/nas/web", "/loop": "/loop", "/mnt/back": "/srv/../images"}
    asked: list[str] = []

    def read_link(path: str) -> str:
        asked.append(path)
        return links.get(path, "")

    found = mounts(FLEET)

    def resolved(path: str) -> tuple[str, str]:
        mount, there = found.holding(path, read_link)
        assert mount is not None
        return mount.source, there

    assert resolved("/var/vms/web/disk.qcow2") == ("nas:/vol1", "/mnt/nas/web/disk.qcow2")
    assert resolved("/mnt/back/disk.raw") == ("/dev/mapper/vg0-fast", "/images/disk.raw")
    assert resolved("/loop")[0] == "/dev/mapper/vg0-root"
    for path in ("/auto/a/b", "/gl/a/b", "/s3/a/b", "/net/nas/a/b"):
        resolved(path)
    waiting = ("/mnt/nas", "/auto", "/gl", "/s3", "/net")
    assert asked
    assert not [path for path in asked if path.startswith(waiting)]


@pytest.mark.parametrize("line", ["", "1", "1 0 8:1 / / rw", "x y 8:1 / / rw - ext4 a rw", "1 0 8:1 / / rw - ext4"])
def test_what_no_kernel_writes_is_left_out(line: str) -> None:
    assert parse_mounts(f"{line}\n") == ()
    assert mounts(line).holding("/x", no_links) == (None, "/x")


def test_a_changed_root_without_a_mount_of_its_own_still_shows_what_is_mounted_in_it() -> None:
    text = "5 3 0:9 / /data rw - nfs nas:/vol rw\n6 5 8:1 / /data/local rw - ext4 /dev/a rw\n"
    assert name_of(text, "/data/x") == "nfs:nas:/vol"
    assert name_of(text, "/data/local/x") == "/data/local"
    assert mounts(text).holding("/etc/x", no_links)[0] is None
