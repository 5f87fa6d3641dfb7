#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs a fuzz target: as a test, on its seeds and on inputs made from them, the same ones every time; or, for
# ci/fuzz.sh, for FUZZ_SECONDS with the inputs kept in FUZZ_FOLDER/corpus. Status 0: nothing was found. What is found is
# kept, in FUZZ_FOLDER/findings or among the test's outputs, and printed.
# Usage: run.sh RUNS PROGRAM DICTIONARY|- SEED...
set -euo pipefail

runs=$1 program=$2 dictionary=$3
shift 3

# Longer inputs find nothing that shorter ones do not: the bounds of lengths have tests of their own.
longest_input_bytes=8192
# An input that takes longer is a finding, and so is one that takes so much memory.
input_seconds=20
memory_mib=2048

options=("-max_len=$longest_input_bytes" "-timeout=$input_seconds" "-rss_limit_mb=$memory_mib" -print_final_stats=1)
[ "$dictionary" = - ] || options+=("-dict=$dictionary")

if [ -n "${FUZZ_FOLDER:-}" ]; then
  mkdir -p "$FUZZ_FOLDER"/{corpus,findings}
  for seed in "$@"; do
    cp -n -- "$seed" "$FUZZ_FOLDER/corpus/"
  done
  exec "$program" "${options[@]}" -max_total_time="${FUZZ_SECONDS:?is not set}" \
    -artifact_prefix="$FUZZ_FOLDER/findings/" "$FUZZ_FOLDER/corpus"
fi

corpus=$(mktemp -d -p "${TEST_TMPDIR:-/tmp}")
for seed in "$@"; do
  cp -- "$seed" "$corpus/"
done
# The seed of its random numbers is fixed, and it never looks for what others have found.
exec "$program" "${options[@]}" -seed=1 -runs="$runs" -reload=0 \
  -artifact_prefix="${TEST_UNDECLARED_OUTPUTS_DIR:-$corpus}/" "$corpus"
