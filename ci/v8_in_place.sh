#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Shows that V8 can be changed in place, as docs/v8-upgrade.md says: one file is edited, that one is compiled and the
# rest comes from this user's disk cache; the edit is printed as a patch that fits; a folder with changes is not removed
# unless that is said. Needs V8 in the disk cache: tools/bazel build //third_party/v8:archive.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/root/lib.sh
. tools/root/lib.sh

cache=$(cache_folder)
scratch=$(mktemp -d "$cache/run/v8-XXXXXX")
export CODE_MODE_V8_SOURCE=$scratch/v8
clean_up() { rm -rf "$scratch"; }
trap clean_up EXIT

tools/v8_source open
edited=src/strings/string-hasher.cc
[ -f "$CODE_MODE_V8_SOURCE/$edited" ] || die "V8 has no $edited any more: name another small file here"
mark="// Edited at $(date +%s%N)."
printf '%s\n' "$mark" >>"$CODE_MODE_V8_SOURCE/$edited"

option=$(tools/v8_source option)
tools/bazel build --curses=no --show_progress_rate_limit=60 "$option" //third_party/v8:archive 2>&1 | tee "$scratch/log" >&2
# "INFO: 1500 processes: 1499 disk cache hit, 1 linux-sandbox." The comment changes no object, so nothing follows.
compiled=$(grep -oP '^INFO: .* processes?: .*\b\K[0-9]+(?= linux-sandbox)' "$scratch/log" | tail -n 1)
[ "${compiled:-0}" = 1 ] || die "${compiled:-0} actions ran for one edited file; 1 was expected"

tools/v8_source diff >"$scratch/patch"
grep -qxF -- "+$mark" "$scratch/patch" || die "the patch lacks the edit"
[ "$(grep -c '^diff ' "$scratch/patch")" = 1 ] || die "the patch has files that nobody edited"
git -C "$CODE_MODE_V8_SOURCE" apply --check --reverse "$scratch/patch"

if tools/v8_source close 2>"$scratch/said"; then die "a folder with changes was removed"; fi
grep -q -- '--discard' "$scratch/said" || die "the refusal does not say what to do: $(cat "$scratch/said")"
tools/v8_source close --discard
[ ! -e "$CODE_MODE_V8_SOURCE" ] || die "the folder is still there"
say "one edited file of V8 was compiled, and nothing else"
