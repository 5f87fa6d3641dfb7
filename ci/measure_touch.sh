#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Measures what a change of one file costs, and prints a table for docs/build.md: a line of comment is put into a file,
# tests are asked for, and the wall time until all have answered is taken; then the file is as it was. What was built
# before comes from this user's disk cache. Works in a checkout of its own, of the last commit.
# Usage: ci/measure_touch.sh [FILE TARGETS]...   pairs of one's own in place of the usual ones
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/root/lib.sh
. tools/root/lib.sh

# A file of each floor of the house, with the tests beside it, and with all.
pairs=(
  runtime/src/session.rs '//runtime/...'
  runtime/src/session.rs '//...'
  runtime/api/src/lib.rs '//...'
  runtime/engine/src/lib.rs '//runtime/engine/...'
  protocol/src/lib.rs '//protocol/...'
  host/src/main.rs '//host/...'
  client/src/lib.rs '//client:all'
  client/mcp/src/lib.rs '//client/mcp/...'
  docs/limits.md '//...'
)
[ $# = 0 ] || pairs=("$@")
[ $((${#pairs[@]} % 2)) = 0 ] || die "usage: ci/measure_touch.sh [FILE TARGETS]..."

scratch=$(mktemp -d "$(cache_folder)/run/touch-XXXXXX")
checkout=$scratch/checkout

clean_up() {
  [ ! -d "$checkout" ] || (cd "$checkout" && tools/bazel --output_base="$scratch/out" shutdown) || true
  git worktree remove --force "$checkout" 2>/dev/null || true
  chmod -R u+w "$scratch"
  rm -rf "$scratch"
}
trap clean_up EXIT

tests() {
  (cd "$checkout" && tools/bazel --output_base="$scratch/out" test "$1") >"$scratch/log" 2>&1 || {
    tail -n 50 "$scratch/log" >&2
    die "the tests of $1 failed; the lines above are the end of their output"
  }
}

# A second line: the first is the licence's, and every line below moves, so that whoever uses the file is compiled anew.
# It has the time, because the disk cache may remember an earlier measurement.
touch_file() {
  local now
  now=$(date +%s%N)
  case $1 in
    *.md) sed -i "2i\\<!-- Touched at $now. -->" "$1" ;;
    *) sed -i "2i\\// Touched at $now." "$1" ;;
  esac
}

git worktree add --quiet --detach "$checkout" HEAD
started=$SECONDS
tests '//...'
printf '%s cores, %s\n\n' "$(nproc)" "$(uname -sr)"
printf '| touched | asked for | seconds |\n|---|---|---|\n'
# shellcheck disable=SC2016 # Backquotes are Markdown here.
printf '| nothing, in a fresh checkout | `test //...` | %d |\n' $((SECONDS - started))
for ((index = 0; index < ${#pairs[@]}; index += 2)); do
  file=${pairs[index]} targets=${pairs[index + 1]}
  touch_file "$checkout/$file"
  started=$SECONDS
  tests "$targets"
  # shellcheck disable=SC2016 # Backquotes are Markdown here.
  printf '| `%s` | `test %s` | %d |\n' "$file" "$targets" $((SECONDS - started))
  git -C "$checkout" checkout --quiet -- "$file"
done
