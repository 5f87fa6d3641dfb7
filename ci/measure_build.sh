#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Measures what a build costs and prints a table for docs/build.md: wall and CPU time of
#   1. the build root, 2. V8's archive, 3. all tests, each from nothing, and 4. a test run with nothing to do.
# Everything goes to a cache folder of its own, which is removed at the end; the usual cache is neither read nor changed.
# Usage: ci/measure_build.sh [FOLDER]   FOLDER (default: a new one in the temporary folder) wants 25 GB of free space.
set -euo pipefail

workspace=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
folder=${1:-$(mktemp -d)}
export XDG_CACHE_HOME=$folder/cache
mkdir -p "$XDG_CACHE_HOME"

cleanup() {
  "$workspace/tools/bazel" shutdown >/dev/null 2>&1 || true
  chmod -R u+w "$folder" 2>/dev/null || true
  rm -rf "$folder"
}
trap cleanup EXIT

# Busy time of all cores since boot, in hundredths of a second: the server and its actions are no children of this shell.
busy() {
  awk '/^cpu /{print $2 + $3 + $4 + $7 + $8}' /proc/stat
}

measure() {
  local name=$1 wall cpu
  shift
  wall=$SECONDS
  cpu=$(busy)
  "$@" >"$folder/log" 2>&1 || {
    tail -n 50 "$folder/log" >&2
    echo "measure_build.sh: '$*' failed; the lines above are the end of its output" >&2
    exit 1
  }
  wall=$((SECONDS - wall))
  cpu=$((($(busy) - cpu) / 100))
  printf '| %s | %d:%02d | %d:%02d |\n' "$name" $((wall / 60)) $((wall % 60)) $((cpu / 60)) $((cpu % 60))
}

bazel="$workspace/tools/bazel"
printf '%s cores, %s\n\n' "$(nproc)" "$(uname -sr)"
printf '| step | wall (min:s) | CPU (min:s) |\n|---|---|---|\n'
measure 'build root and crates' "$bazel" info
# shellcheck disable=SC2016 # Backquotes are Markdown here.
measure 'V8 (`//third_party/v8:archive`)' "$bazel" build //third_party/v8:archive
# shellcheck disable=SC2016 # Backquotes are Markdown here.
measure 'all tests (`test //...`), the rest' "$bazel" test //...
measure 'all tests again, nothing to do' "$bazel" test //...
measure 'the README'"'"'s example' "$bazel" run //client:code_mode -- \
  run examples/source_report/report.js --tools examples/source_report/tools.json
