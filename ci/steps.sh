# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Steps of a run of CI, timed and written down as JSON for ci/compare. Sourced by ci/gate and its like, which name the
# run: `begin gate`, then `step NAME COMMAND...` as often as need be, then `finish`.
#
# The file is NAME-TIME.json in the folder that CODE_MODE_CI_RESULTS names, by default `ci` in the user's cache:
#   {"run": "gate", "time": "2026-01-01T00:00:00Z", "revision": "...", "processors": 2, "processor": "...",
#    "steps": [{"name": "tests", "seconds": 12, "passed": true}, ...]}
# A run that is broken off leaves none.

begin() {
  run=$1
  failures=0
  steps=()
  results=${CODE_MODE_CI_RESULTS:-${XDG_CACHE_HOME:-$HOME/.cache}/code_mode/ci}
  mkdir -p "$results"
  results=$(cd "$results" && pwd -P)
}

# A text as JSON. Control characters do not come in names of ours, of processors and of revisions.
quoted() {
  local text=${1//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

# Runs a command with its output on standard error, and notes how long it took and whether it succeeded. A step that
# fails does not end the run: all failures of one run count.
step() {
  local name=$1 started=$SECONDS passed=true
  shift
  printf '\n== %s\n' "$name" >&2
  "$@" >&2 || {
    passed=false
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$name" >&2
  }
  steps+=("{\"name\": $(quoted "$name"), \"seconds\": $((SECONDS - started)), \"passed\": $passed}")
}

# Writes the file and says where it is. Its status is that of the run.
finish() {
  local time file model joined
  time=$(date --utc +%Y-%m-%dT%H:%M:%SZ)
  file=$results/$run-${time//:/}.json
  model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
  printf -v joined '    %s,\n' "${steps[@]}"
  {
    printf '{\n  "run": %s,\n  "time": "%s",\n' "$(quoted "$run")" "$time"
    printf '  "revision": %s,\n' "$(quoted "$(git rev-parse HEAD 2>/dev/null || echo unknown)")"
    printf '  "processors": %s,\n  "processor": %s,\n' "$(nproc)" "$(quoted "$model")"
    printf '  "steps": [\n%s\n  ]\n}\n' "${joined%,$'\n'}"
  } >"$file.new"
  mv "$file.new" "$file"
  printf '\n%s: %s of %s steps failed; written to %s\n' "$run" "$failures" "${#steps[@]}" "$file" >&2
  [ "$failures" = 0 ]
}
