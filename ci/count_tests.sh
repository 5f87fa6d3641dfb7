#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Counts the test cases of one `tools/bazel test --build_event_json_file=EVENTS ...`: each Rust #[test] and doc test as
# one, each other Bazel test as one. Prints "N passed, N failed", with ", N skipped" when there are ignored cases.
# Usage: ci/count_tests.sh EVENTS
# Status 1: a test failed, did not end or could not be built, or there was none at all. Needs bash and awk only.
set -euo pipefail

if [ $# != 1 ] || [ ! -r "$1" ]; then
  echo "usage: ci/count_tests.sh EVENTS, the file that --build_event_json_file names" >&2
  exit 2
fi

# One line of the file is one event. A field is found by its name: the values asked for hold no quotes.
exec awk '
  function field(name,    start) {
    if (!match($0, "\"" name "\":\"[^\"]*\"")) return ""
    start = RSTART + length(name) + 4
    return substr($0, start, RSTART + RLENGTH - 1 - start)
  }

  # A target that is a test is expected to report; one that could not even be analysed counts as a failure.
  /^\{"id":\{"targetConfigured"/ && /"testSize"/ { expected[field("label")] = 1 }
  /^\{"id":\{"targetCompleted"/ && /"aborted":/ { expected[field("label")] = 1 }

  # Attempts and shards of one test each have an event of their own.
  /^\{"id":\{"testResult"/ {
    label = field("label")
    reported[label] = 1
    good = field("status") == "PASSED"
    log_file = ""
    if (match($0, /"name":"test\.log","uri":"file:\/\/[^"]*"/)) {
      log_file = substr($0, RSTART, RLENGTH)
      sub(/.*"file:\/\//, "", log_file)
      sub(/"$/, "", log_file)
    }
    cases = here = 0
    while (log_file != "" && (getline line < log_file) > 0) {
      # libtest: "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ..."
      if (line !~ /^test result: /) continue
      cases = 1
      split(line, words, " ")
      passed += words[4]
      failed += words[6]
      here += words[6]
      ignored += words[8]
    }
    if (log_file != "") close(log_file)
    if (!cases && good) passed++
    # A crash or a time limit leaves no failed case behind.
    if (!good && !here) failed++
    if (!good) print "failed: " label > "/dev/stderr"
  }

  END {
    for (label in expected) if (!(label in reported)) {
      failed++
      print "no result: " label > "/dev/stderr"
    }
    printf "%d passed, %d failed%s\n", passed, failed, ignored ? ", " ignored " skipped" : ""
    exit failed > 0 || passed == 0
  }
' "$1"
