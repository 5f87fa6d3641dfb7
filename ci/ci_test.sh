#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tests of ci/steps.sh and ci/compare. Each test is a function named test_...; it runs in a subshell with an empty folder
# of its own as working folder, and fails when a command in it fails.
set -uo pipefail

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)

fail() {
  printf '  %s\n' "$*" >&2
  exit 1
}

equal() { [ "$1" = "$2" ] || fail "expected: $1"$'\n'"  got:      $2"; }

contains() { case $1 in *"$2"*) ;; *) fail "expected \"$2\" in: $1" ;; esac }

# Runs a few steps and prints the file that was written.
run_steps() {
  export CODE_MODE_CI_RESULTS=$PWD/results
  # shellcheck source=ci/steps.sh
  . "$scripts/steps.sh"
  begin 'trial'
  step 'good' true
  "$@"
}

test_a_run_writes_its_steps_as_json_and_succeeds_when_all_did() {
  (run_steps && step 'a "quoted" one' echo words && finish) >out 2>said || fail "the run failed: $(cat said)"
  equal "" "$(cat out)"
  contains "$(cat said)" "words"
  equal "trial [('good', True), ('a \"quoted\" one', True)]" "$(python3 -c '
import json, sys
run = json.load(open(sys.argv[1]))
print(run["run"], [(step["name"], step["passed"]) for step in run["steps"]])' results/trial-*.json)"
}

test_a_step_that_fails_fails_the_run_and_those_behind_it_still_run() {
  (run_steps step 'bad' false && step 'last' true && finish) >out 2>said && fail "the run succeeded"
  contains "$(cat said)" "FAILED: bad"
  contains "$(cat results/trial-*.json)" '{"name": "bad", "seconds": 0, "passed": false}'
  contains "$(cat results/trial-*.json)" '"name": "last"'
}

# Usage: write_run FILE SECONDS PASSED
write_run() { printf '{"revision": "%s", "steps": [{"name": "tests", "seconds": %s, "passed": %s}]}' "$1" "$2" "$3" >"$1"; }

test_a_history_shows_each_run_and_marks_a_last_one_that_is_slower() {
  write_run one 100 true
  write_run two 110 true
  write_run three 150 true
  "$scripts/compare" one two >said || fail "10 percent were found worse: $(cat said)"
  "$scripts/compare" one two three >said && fail "a slower run was passed over"
  contains "$(cat said)" "tests [s]           100           110           150 !"
  "$scripts/compare" --worse 50 one two three >said || fail "43 percent were found worse than 50: $(cat said)"
}

test_a_failed_last_step_is_no_figure_and_no_success() {
  write_run one 100 true
  write_run two 1 false
  "$scripts/compare" one two >said && fail "a failed step was passed over"
  contains "$(cat said)" "failed"
  "$scripts/compare" two one >said || fail "an earlier failure counts: $(cat said)"
}

test_a_benchmark_report_is_compared_by_its_medians() {
  printf '{"results": [{"scenario": "exec", "subject": "A", "p50_us": 250.5}]}' >one.json
  "$scripts/compare" one.json >said || fail "refused"
  contains "$(cat said)" "exec A [us]         250.5"
}

test_a_file_that_is_no_report_is_named() {
  echo '[]' >other
  "$scripts/compare" other 2>said && fail "accepted"
  contains "$(cat said)" "other"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0 failed=0
for name in $(declare -F | sed -n 's/^declare -f \(test_.*\)/\1/p'); do
  mkdir "$scratch/$name"
  if (cd "$scratch/$name" && "$name"); then
    printf 'ok      %s\n' "$name"
    passed=$((passed + 1))
  else
    printf 'FAILED  %s\n' "$name"
    failed=$((failed + 1))
  fi
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
