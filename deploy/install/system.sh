#!/bin/bash
# Installs the Debian packages that building, testing and the laboratory need, and a kernel image for the laboratory's guest. As root, Debian 12.
# Does nothing, and needs no network, when all is there. Starts no service, and installs no kernel on this machine.
#
# usage: deploy/install/system.sh          from anywhere
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/install/packages.sh

PACKAGES=(
  # the virtual environment: libvirt-python is built in it, libnbd comes from Debian
  python3-venv python3-dev gcc libc6-dev make pkg-config libvirt-dev python3-libnbd
  # the hypervisor
  libvirt-daemon libvirt-daemon-driver-qemu libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils
  # the controller's other database, for tests
  postgresql-15
  # the model checker of the lease (tests/model/lease.pml)
  spin
  # the laboratory: namespaces and network
  util-linux iproute2 procps diffutils
  # the laboratory's guest: a disk that boots
  syslinux mtools dosfstools cpio
  # what Debian's guest agent needs, as it is copied into a guest with its libraries; a file system for that guest
  libglib2.0-0 libnuma1 liburing2 libudev1 e2fsprogs
  # guests with UEFI and a TPM
  ovmf swtpm swtpm-tools
)
KERNEL_PACKAGE=linux-image-cloud-amd64 # small, with virtio
KERNEL_DIRECTORY=build/kernel
AGENT_DIRECTORY=build/guest-agent

has_kernel() { compgen -G "$1/boot/vmlinuz-*-cloud-*" >/dev/null && compgen -G "$1/lib/modules/*-cloud-*/kernel" >/dev/null; }

# Unpacked, not installed: this machine goes on booting its own kernel, and runs no guest agent.
unpack() {
  local package=$1 directory=$2 work
  work=$(mktemp -d)
  echo "Downloading $package for the laboratory's guest"
  (cd "$work" && chmod 755 . && apt-get download --quiet --quiet -o APT::Sandbox::User=root "$package")
  mkdir -p "$directory.new"
  dpkg -x "$work"/*.deb "$directory.new"
  rm -rf "$directory" "$work"
  mv "$directory.new" "$directory"
}

unpack_kernel() {
  as_root
  update_lists
  unpack "$(apt-cache depends "$KERNEL_PACKAGE" | awk '/Depends: linux-image-.*-cloud-amd64/ { print $2; exit }')" "$KERNEL_DIRECTORY"
}

unpack_agent() {
  as_root
  update_lists
  unpack qemu-guest-agent "$AGENT_DIRECTORY"
}

mapfile -t missing < <(missing_packages)
[ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
has_kernel "$KERNEL_DIRECTORY" || has_kernel "" || unpack_kernel
[ -x "$AGENT_DIRECTORY/usr/sbin/qemu-ga" ] || [ -x /usr/sbin/qemu-ga ] || unpack_agent
