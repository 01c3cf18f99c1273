#!/bin/bash
# Installs the Debian packages that only `make bench` needs: the tools that Seawall is measured against, a Ceph gateway, and what makes its disk
# images. As root, Debian 12. Does nothing, and needs no network, when all is there. Starts no service.
#
# usage: deploy/install/bench.sh          from anywhere
set -euo pipefail
. "$(dirname "$0")/packages.sh"

PACKAGES=(
  # the other tools
  restic borgbackup
  # the store: one mon, one OSD, one gateway
  radosgw ceph-mon ceph-osd ceph-common
  # the images
  mmdebstrap e2fsprogs fdisk
)

mapfile -t missing < <(missing_packages)
[ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
