# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Gets the packages of a lock into the cache, each under its sha256. make.sh sources it.
#
# The sum in the lock decides what a package is, whatever it came from: no source is trusted, and neither the archive's
# index nor its signature is asked. So a package is the same for everybody, also when the archive has moved on.

# apt's own downloader: it reaches mirrors as this machine's apt does, through its proxies and with its certificates.
PATH=$PATH:/usr/lib/apt

# The archive that this machine's apt uses; nothing when it uses none.
archive() {
  # Debian's own archive has a path that ends in /debian; its security archive and foreign archives do not.
  # shellcheck disable=SC2016 # The $( ) is apt's format.
  apt-get indextargets --format '$(REPO_URI)' 'Component: main' 'Identifier: Packages' | grep -E -m1 '/debian/?$' || true
}

# The places to ask, in order, one on a line. A folder may stand for an address.
deb_sources() {
  local lock=$1 mirror=${CODE_MODE_ROOT_MIRROR:-} time
  [ -z "$mirror" ] || printf '%s\n' "$mirror"
  archive
  time=$(awk '$1 == "archive" { print $2 }' "$lock")
  [ -z "$time" ] || [ -z "${CODE_MODE_ROOT_SNAPSHOT:-}" ] || printf '%s/%s\n' "$CODE_MODE_ROOT_SNAPSHOT" "$time"
}

# The packages of a lock, as "suite name version sha256 file".
lock_packages() { grep -Ev '^(#|$|archive )' "$1"; }

# Those of them ($2) that the cache ($1) lacks.
missing_debs() {
  local line sum
  while IFS= read -r line; do
    sum=$(cut -d' ' -f4 <<<"$line")
    [ -f "$1/debs/$sum.deb" ] || printf '%s\n' "$line"
  done < <(lock_packages "$2")
}

# Takes damaged packages out of the cache, so that they are fetched again, and marks the others as used.
check_debs() {
  local debs=$1/debs sum sums=()
  while read -r sum; do
    [ ! -f "$debs/$sum.deb" ] || sums+=("$sum")
  done < <(lock_packages "$2" | cut -d' ' -f4)
  [ ${#sums[@]} -gt 0 ] || return 0
  while IFS=: read -r sum _; do
    stage "$sum in the cache is damaged: fetching it again"
    rm "$debs/$sum"
  done < <(cd "$debs" && printf '%s\n' "${sums[@]}" | sed 's/.*/&  &.deb/' | sha256sum --check --quiet 2>/dev/null || true)
  (cd "$debs" && printf '%s.deb\0' "${sums[@]}" | xargs -0 touch --no-create --)
}

# Asks one source ($2) for the packages on standard input. Those that come with the right sum go into the cache ($1);
# what the source lacks is no error here.
fetch_from() {
  local debs=$1/debs source=$2 new request=() name sum file
  case $source in /*) source=file://$source ;; esac
  new=$(mktemp -d "$debs/.new-XXXXXX")
  while read -r _ name _ sum file; do
    request+=("${source%/}/${file//+/%2b}" "$new/$sum" "SHA256:$sum")
  done
  # As root, apt would give the download to a user who may not write here.
  apt-helper -o APT::Sandbox::User=root -o Acquire::Retries=3 download-file "${request[@]}" >"$new/log" 2>&1 || true
  # For an address on this machine's own disk apt leaves a link.
  for file in "$new"/*; do
    sum=${file##*/}
    [ "$sum" != log ] || continue
    if [ "$(sha256sum "$file" | cut -d' ' -f1)" = "$sum" ]; then
      [ ! -L "$file" ] || cp --remove-destination "$(readlink -f "$file")" "$file"
      mv "$file" "$debs/$sum.deb"
    fi
  done
  # What apt says of failures but for its summary, and of these the first few: they mostly say the same.
  grep -A1 '^Err:' "$new/log" | grep -v '^\(Err:\|--\)' | sort | uniq -c | sort -rn | head -n 3 |
    while read -r name file; do stage "$name times: $file"; done || true
  rm -rf "$new"
}

# Gets all packages of a lock ($2) into the cache ($1), or says which are not to be had and how to go on.
fetch_debs() {
  local cache=$1 lock=$2 source missing
  rm -rf "$cache"/debs/.new-*
  check_debs "$cache" "$lock"
  missing=$(missing_debs "$cache" "$lock")
  while IFS= read -r source; do
    [ -n "$missing" ] || break
    stage "fetching $(wc -l <<<"$missing") packages from $source"
    fetch_from "$cache" "$source" <<<"$missing"
    missing=$(missing_debs "$cache" "$lock")
  done < <(deb_sources "$lock")
  [ -n "$missing" ] || return 0
  say "packages that no source has: $(wc -l <<<"$missing")"
  cut -d' ' -f1-3 <<<"$missing" | head -n 10 | sed 's/^/code_mode:   /' >&2
  say "asked were, in this order:"
  deb_sources "$lock" | sed 's/^/code_mode:   /' >&2
  say "Ways on:"
  say "  CODE_MODE_ROOT_IMAGE=root-SHA256.tar.zst   takes an image that tools/root/image has written elsewhere"
  say "  CODE_MODE_ROOT_MIRROR=URL                  asks another copy of Debian's archive first"
  say "  CODE_MODE_ROOT_SNAPSHOT=URL                asks a service that keeps the archive's past states, as Debian has one"
  say "  CODE_MODE_ROOT=newest                      takes the archive's newest packages, at your own risk"
  return 1
}
