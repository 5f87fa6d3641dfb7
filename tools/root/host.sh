# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the host must offer: bubblewrap, the programs that make a root, and leave to make user namespaces. lib.sh sources
# it.

host_packages='bubblewrap debian-archive-keyring zstd'

# Makes sure that the programs named are there: as root by installing the Debian packages, else by saying how.
require_programs() {
  local program missing=()
  for program in "$@"; do
    command -v "$program" >/dev/null || missing+=("$program")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "${missing[*]} missing: installing $host_packages"
    # shellcheck disable=SC2086 # A list of words.
    if { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $host_packages; } >&2; then
      return 0
    fi
    die "apt-get could not install $host_packages; the lines above say why"
  fi
  say "${missing[*]} missing. Run this, then try again:"
  say "  sudo apt-get install -y $host_packages"
  exit 1
}

# Needed to make a root; a maker put in by a test has needs of its own. An image asks for less: no apt, no dpkg.
require_root_maker() {
  if [ -n "${CODE_MODE_ROOT_IMAGE:-}" ]; then
    require_programs tar zstd
  elif [ -z "${CODE_MODE_ROOT_MAKER:-}" ]; then
    require_programs bwrap tar apt-get dpkg-deb
  fi
}

# Needed to enter a root.
require_bwrap() {
  require_programs bwrap
  bwrap --ro-bind / / true 2>/dev/null && return 0
  say "bubblewrap cannot make a user namespace here. As root, allow it with the one that exists of"
  say "  sysctl -w kernel.unprivileged_userns_clone=1"
  say "  sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
  exit 1
}
