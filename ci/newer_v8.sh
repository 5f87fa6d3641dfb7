#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Says whether the registry has a newer crate `v8` than Cargo.lock. That is no failure: docs/v8-upgrade.md tells the rest.
# Status 1: the registry could not be asked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/root/lib.sh
. tools/root/lib.sh

locked=$(awk '$0 == "name = \"v8\"" { getline; gsub(/version = |"/, ""); print }' Cargo.lock)
[ -n "$locked" ] || die "Cargo.lock has no crate v8"
# Cargo tells the locked version, and beside it the latest where that is another one.
answer=$(tools/cargo info --color=never v8) || die "the registry could not be asked about v8; the lines above say why"
version=$(sed -n 's/^version: //p' <<<"$answer")
latest=$(sed -n 's/.*(latest \([^ )]*\).*/\1/p' <<<"$version")
latest=${latest:-${version%% *}}
[ -n "$latest" ] || die "Cargo's answer about v8 names no version: $answer"
if [ "$latest" = "$locked" ]; then
  say "v8 $locked is the newest"
else
  say "v8 $latest is there, and Cargo.lock has $locked: docs/v8-upgrade.md"
fi
