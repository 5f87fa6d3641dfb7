#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the tests and type checks of the Python and TypeScript clients against a host program.
# Usage: ci/clients.sh HOST
# Prints one line for each language, "python: N passed, N failed, N skipped"; what is skipped holds for our own host
# only. Status 1: a test failed, a check failed, or none ran. Needs python3 of 3.11 or newer, Node 20 or newer and npm;
# types of Python are checked when mypy is there.
set -uo pipefail

if [ $# != 1 ] || [ ! -x "$1" ]; then
  echo "usage: ci/clients.sh HOST, an executable code-mode host" >&2
  exit 2
fi
CODE_MODE_HOST=$(realpath -- "$1")
export CODE_MODE_HOST
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
failures=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Prints the totals of one language; fails when there are failures or nothing has passed.
total() {
  echo "$1: $2 passed, $3 failed, $4 skipped"
  [ "$2" -gt 0 ] && [ "$3" = 0 ] || failures=1
}

(cd client/python && PYTHONPATH=src python3 -W error::ResourceWarning -m unittest -v) >"$log" 2>&1
status=$?
cat "$log" >&2
# The last lines of unittest: "Ran 118 tests in 3.2s", then "OK (skipped=18)" or "FAILED (failures=1, errors=2)".
ran=$(sed -n 's/^Ran \([0-9]*\) tests\? in .*/\1/p' "$log")
last=$(grep -E '^(OK|FAILED)( |$)' "$log" | tail -n 1)
count() {
  local number
  number=$(sed -n "s/.*[( ]$1=\([0-9]*\).*/\1/p" <<<"$last")
  echo "${number:-0}"
}
skipped=$(count skipped)
failed=$(($(count failures) + $(count errors)))
# A run that broke off without a total has failed.
if [ $status != 0 ] && [ $failed = 0 ]; then failed=1; fi
passed=$((${ran:-0} - skipped - failed))
total python $((passed > 0 ? passed : 0)) $failed "$skipped"

if command -v mypy >/dev/null; then
  (cd client/python && mypy) >&2 || { echo 'python: the types do not fit' && failures=1; }
fi

# Nothing is fetched when the packages of the lock file are there already.
if (cd client/typescript && { npm ls >/dev/null 2>&1 || npm ci >&2; } && npm run --silent build >&2); then
  (cd client/typescript && npm test --silent) >"$log" 2>&1
  status=$?
  cat "$log" >&2
  # node --test, at its end: "ℹ pass 97".
  field() {
    local number
    number=$(sed -n "s/^. $1 \([0-9]*\)$/\1/p" "$log" | tail -n 1)
    echo "${number:-0}"
  }
  failed=$(($(field fail) + $(field cancelled)))
  if [ $status != 0 ] && [ $failed = 0 ]; then failed=1; fi
  total typescript "$(field pass)" $failed "$(field skipped)"
else
  total typescript 0 1 0
fi
exit $failures
