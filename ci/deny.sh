#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checks the third-party crates with cargo-deny against deny.toml: licences, bans, duplicates and where they come from.
# Usage: ci/deny.sh [--advisories FOLDER]
#
# With --advisories also against known vulnerabilities: FOLDER holds advisory databases as cargo-deny keeps them, of a
# time of your choosing. Nothing is fetched here for that, so a result is of that time.
# cargo-deny is compiled once, by the build root's Cargo, and stays in the user's cache.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/root/lib.sh
. tools/root/lib.sh
# shellcheck source=tools/versions.sh
. tools/versions.sh

version=$(version_of CARGO_DENY)
# Of the crate: the version says which one is meant, this that it is the one that was looked at.
sum=$(version_of CARGO_DENY_SHA256)

checks=(bans licenses sources)
case ${1:-} in
  '') ;;
  --advisories)
    [ -d "${2:-}" ] || die "--advisories wants a folder with advisory databases"
    # Where cargo-deny looks for them: the build root has the user's cache and nothing else outside the workspace.
    databases=$(cache_folder)/cargo/advisory-dbs
    rm -rf "$databases"
    cp -r "$2" "$databases"
    checks+=(advisories)
    ;;
  *) die "usage: ci/deny.sh [--advisories FOLDER]" ;;
esac

# Compiles cargo-deny unless it is there.
install() {
  local home stamp crate
  home=$(cache_folder)/cargo
  stamp=$home/cargo-deny-$version
  [ ! -e "$stamp" ] || return 0
  say "compiling cargo-deny $version, once"
  # It runs for a second: optimising it would take longer than it ever runs.
  tools/cargo install cargo-deny --version "=$version" --locked --debug --force --config profile.dev.debug=0 || return
  crate=$(cat "$home"/registry/cache/*/"cargo-deny-$version.crate" | sha256sum | cut -d' ' -f1)
  if [ "$crate" != "$sum" ]; then
    rm -f "$home/bin/cargo-deny"
    die "cargo-deny $version has the checksum $crate, and $sum is expected"
  fi
  : >"$stamp"
}

install
tools/cargo deny --offline --locked --all-features check --hide-inclusion-graph "${checks[@]}"
