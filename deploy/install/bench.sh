#!/bin/bash
# Installs the Debian packages that only `make bench` needs: the tools that Seawall is measured against, a Ceph gateway, and what makes its disk
# images. As root, Debian 12. Does nothing, and needs no network, when all is there. Starts no service.
#
# usage: deploy/install/bench.sh          from anywhere
set -euo pipefail

PACKAGES=(
  # the other tools
  restic borgbackup
  # the store: one mon, one OSD, one gateway
  radosgw ceph-mon ceph-osd ceph-common
  # the images
  mmdebstrap e2fsprogs fdisk
)

missing_packages() {
  local package
  for package in "${PACKAGES[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
  done
}

as_root() {
  [ "$(id -u)" = 0 ] && return
  echo "$0: run it as root: something has to be installed" >&2
  exit 1
}

# Debian starts what it installs unless this policy says no; an existing policy of the machine stays.
forbid_service_starts() {
  local policy=/usr/sbin/policy-rc.d
  [ -e "$policy" ] && return
  trap "rm -f $policy" EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
}

mapfile -t missing < <(missing_packages)
[ ${#missing[@]} -eq 0 ] && exit
as_root
echo "Installing ${missing[*]}"
apt-get update --quiet --quiet
forbid_service_starts
DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" </dev/null
