#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Prints a lock of the archive's newest packages: what apt would install for the lists, with a state of its own, so that
# nothing of this machine's packages counts. The archive's signature is checked; its expiry date is not, because mirrors
# that change rarely carry a Release file of testing past its date.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=tools/root/lib.sh
. "$here/lib.sh"
# shellcheck source=tools/root/debs.sh
. "$here/debs.sh"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
url=${CODE_MODE_ROOT_MIRROR:-$(archive)}
case $url in /*) url=file://$url ;; esac

# Runs a program of apt on a suite's own state.
apt_of() {
  local state=$scratch/$1
  "$2" -o "Dir::State=$state" -o "Dir::State::lists=$state/lists" -o "Dir::State::status=$state/status" \
    -o "Dir::Cache=$state/cache" -o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null -o APT::Sandbox::User=root \
    -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o Acquire::Check-Valid-Until=false \
    -o Acquire::Languages=none -o APT::Install-Recommends=false "${@:3}"
}

# Lines "suite name version sha256 file" for a suite ($1) and a list of packages ($2).
packages_of() {
  local suite=$1 list=$2 state=$scratch/$1 names index
  mkdir -p "$state"/{lists/partial,cache/archives/partial}
  : >"$state/status"
  printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$url" "$suite" >"$state/sources.list"
  apt_of "$suite" apt-get update >&2
  mapfile -t names < <(grep -Ev '^(#|$)' "$list")
  # Lines 'URI' NAME_VERSION_ARCH.deb SIZE SUM; the version's colon is written as %3a.
  apt_of "$suite" apt-get install --yes --print-uris "${names[@]}" | sed -n "s/^'[^']*' \([^_]*\)_\([^_]*\)_.*/\1 \2/p" |
    sed 's/%3a/:/g' >"$state/wanted"
  # shellcheck disable=SC2016 # The $( ) is apt's format.
  index=$(apt_of "$suite" apt-get indextargets --format '$(FILENAME)' 'Component: main' 'Identifier: Packages' | head -n1)
  apt-helper cat-file "$index" | awk -v suite="$suite" '
    FILENAME == ARGV[1] { wanted[$1 " " $2] = 1; count++; next }
    /^Package: / { name = $2 }
    /^Version: / { version = $2 }
    /^Filename: / { file = $2 }
    /^SHA256: / { sum = $2 }
    /^$/ { if ((name " " version) in wanted) { print suite, name, version, sum, file; count-- } }
    END { exit count != 0 }
  ' "$state/wanted" -
}

# The later one of the suites' Release dates: the archive of that time has them all.
archive_time() {
  local date newest=0 seconds
  while read -r date; do
    seconds=$(date --date="$date" +%s)
    [ "$seconds" -le "$newest" ] || newest=$seconds
  done < <(sed -n 's/^Date: //p' "$scratch"/*/lists/*Release)
  date --utc --date="@$newest" +%Y%m%dT%H%M%SZ
}

{
  packages_of bookworm "$here/sysroot.txt"
  packages_of forky "$here/packages.txt"
} >"$scratch/packages"
printf '%s\n' '# Every package of the build root (forky) and of the sysroot (bookworm): suite name version sha256 file.' \
  '# The archive of the time named has them. Written by tools/root/relock.'
printf 'archive %s\n' "$(archive_time)"
LC_ALL=C sort "$scratch/packages"
