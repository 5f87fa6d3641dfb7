#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs tests with counters in our own Rust and prints which share of each crate's lines they have run.
# Usage: ci/coverage.sh [TARGETS...]   `//...` unless given
# CODE_MODE_COVERAGE names a folder for the page of each file (HTML) as well; it must be in the user's cache or the workspace.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/root/lib.sh
. tools/root/lib.sh
# shellcheck source=tools/root/enter.sh
. tools/root/enter.sh
# shellcheck source=tools/versions.sh
. tools/versions.sh

targets=("$@")
[ $# -gt 0 ] || targets=(//...)
cache=$(cache_folder)
root=$(ensure_root "$cache")
llvm=$(version_of LLVM)
scratch=$(mktemp -d "$cache/run/coverage-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/counts"

in_root() { enter "$root" "$cache" "$PWD" -- "$@"; }

# %c: counters in a mapped file; %m: one file for each program, which all its processes share.
status=0
tools/bazel test --config=coverage --curses=no --show_progress_rate_limit=60 \
  --test_env=LLVM_PROFILE_FILE="$scratch/counts/%c%m.profraw" --sandbox_writable_path="$scratch/counts" \
  -- "${targets[@]}" >&2 || status=$?
# 3: tests failed. What the others ran still counts.
[ $status = 0 ] || [ $status = 3 ] || exit $status

# Those that are left out (`-//...`) may well be there; what was not built is passed over below.
mapfile -t wanted < <(printf '%s\n' "${targets[@]}" | grep -v '^-')
tools/bazel cquery --config=coverage --noshow_progress --ui_event_filters=-info --output=files \
  "kind('rust_(test|binary) rule', deps(set(${wanted[*]})))" |
  grep -E '^bazel-out/[^/]*/bin/(client|host|protocol|runtime)/' | LC_ALL=C sort --unique >"$scratch/programs"
execution_root=$(tools/bazel info --config=coverage --noshow_progress --ui_event_filters=-info execution_root)
objects=()
while read -r program; do
  # A target that the tests did not need was not built.
  [ ! -x "$execution_root/$program" ] || objects+=(--object "$execution_root/$program")
done <"$scratch/programs"
[ ${#objects[@]} -gt 0 ] || die "no program with counters was built for ${targets[*]}"

in_root "llvm-profdata-$llvm" merge --sparse --failure-mode=all "$scratch"/counts/*.profraw --output="$scratch/merged"
arguments=(--instr-profile="$scratch/merged" "${objects[@]:1}" --compilation-dir="$PWD"
  --ignore-filename-regex='^(external|bazel-out|/usr)/|/(external|bazel-out)/|_tests?[.]rs$|/(tests|benches|fuzz)/')
in_root "llvm-cov-$llvm" export --format=text --summary-only "${arguments[@]}" >"$scratch/summary.json"
python3 - "$scratch/summary.json" "$PWD" <<'PYTHON'
import collections, json, os, sys

crates = collections.defaultdict(lambda: [0, 0])
for file in json.load(open(sys.argv[1]))["data"][0]["files"]:
    name = os.path.relpath(file["filename"], sys.argv[2]) if os.path.isabs(file["filename"]) else file["filename"]
    lines = file["summary"]["lines"]
    for crate in (name.split("/src/")[0], "all"):
        crates[crate][0] += lines["count"]
        crates[crate][1] += lines["covered"]
print("| crate | lines | run by a test |\n|---|---|---|")
for crate in sorted(crates, key=lambda crate: (crate == "all", crate)):
    count, covered = crates[crate]
    print(f"| `{crate}` | {count:,} | {100 * covered / max(count, 1):.1f} % |")
PYTHON
if [ -n "${CODE_MODE_COVERAGE:-}" ]; then
  mkdir -p "$CODE_MODE_COVERAGE"
  in_root "llvm-cov-$llvm" show --format=html --output-dir="$(cd "$CODE_MODE_COVERAGE" && pwd -P)" "${arguments[@]}" >&2
  say "the pages are in $CODE_MODE_COVERAGE"
fi
exit $status
