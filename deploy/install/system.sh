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
  # the laboratory: namespaces and network
  util-linux iproute2 procps diffutils
  # the laboratory's guest: a disk that boots
  syslinux mtools dosfstools cpio
)
KERNEL_PACKAGE=linux-image-cloud-amd64 # small, with virtio
KERNEL_DIRECTORY=build/kernel

has_kernel() { compgen -G "$1/boot/vmlinuz-*-cloud-*" >/dev/null && compgen -G "$1/lib/modules/*-cloud-*/kernel" >/dev/null; }

# The kernel is unpacked, not installed: this machine goes on booting its own.
unpack_kernel() {
  as_root
  local work package
  work=$(mktemp -d)
  update_lists
  package=$(apt-cache depends "$KERNEL_PACKAGE" | awk '/Depends: linux-image-.*-cloud-amd64/ { print $2; exit }')
  echo "Downloading $package for the laboratory's guest"
  (cd "$work" && chmod 755 . && apt-get download --quiet --quiet -o APT::Sandbox::User=root "$package")
  mkdir -p "$KERNEL_DIRECTORY.new"
  dpkg -x "$work"/*.deb "$KERNEL_DIRECTORY.new"
  rm -rf "$KERNEL_DIRECTORY" "$work"
  mv "$KERNEL_DIRECTORY.new" "$KERNEL_DIRECTORY"
}

mapfile -t missing < <(missing_packages)
[ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
has_kernel "$KERNEL_DIRECTORY" || has_kernel "" || unpack_kernel
