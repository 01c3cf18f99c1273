# Sourced by the scripts beside it, each of which has a list of its own in PACKAGES.

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

update_lists() {
  [ -z "${lists_are_new:-}" ] || return 0
  apt-get update --quiet --quiet
  lists_are_new=yes
}

# Debian starts what it installs unless this policy says no; an existing policy of the machine stays.
forbid_service_starts() {
  local policy=/usr/sbin/policy-rc.d
  [ -e "$policy" ] && return
  trap "rm -f $policy" EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
}

install_packages() {
  as_root
  echo "Installing $*"
  update_lists
  forbid_service_starts
  local log
  log=$(mktemp)
  # Hundreds of lines that nobody reads, unless it fails.
  if ! DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends -o Dpkg::Use-Pty=0 "$@" </dev/null >"$log" 2>&1; then
    tail --lines=40 "$log" >&2
    rm --force "$log"
    return 1
  fi
  rm --force "$log"
}
