#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Fuzzes with coverage: builds the fuzz targets with --config=fuzz and runs one after the other, each from the inputs that
# earlier runs have kept. Prints a row for each: inputs tried, edges and features of the code that they reach, inputs that
# were new, findings. See docs/fuzzing.md.
# Usage: ci/fuzz.sh [--seconds N] [--list] [TARGET...]   N is for each target, 600 unless given; TARGET as --list shows
# Status 1: something was found; its input is in the `findings` folder that the row names.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/root/lib.sh
. tools/root/lib.sh

seconds=600
list=
targets=()
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=${2:?--seconds wants a number} && shift ;;
    --list) list=1 ;;
    -*) sed -n 's/^# Usage: //p' ci/fuzz.sh >&2 && exit 2 ;;
    *) targets+=("$1") ;;
  esac
  shift
done

# The name of a target is that of its file.
progress=(--curses=no --show_progress_rate_limit=60)
labels=$(tools/bazel query "${progress[@]}" --output=label 'attr(tags, "\bfuzz\b", //...)')
label_of() { sed -n "/:$1_fuzz_run\$/p" <<<"$labels"; }
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(sed -n 's/.*:\(.*\)_fuzz_run$/\1/p' <<<"$labels" | sort)
for target in "${targets[@]}"; do
  [ -n "$(label_of "$target")" ] || die "there is no fuzz target \"$target\"; ci/fuzz.sh --list shows all"
done
[ -z "$list" ] || {
  printf '%s\n' "${targets[@]}"
  exit 0
}

cache=$(cache_folder)
# The number behind a name in the log's last lines; "-" when there is none.
figure() {
  local found
  found=$(grep -aoP "$1 *\K[0-9]+" "$log" | tail -n 1)
  printf '%s' "${found:--}"
}

status=0
row='%-22s %12s %8s %8s %10s %s\n'
# shellcheck disable=SC2059 # The format is ours.
table=$(printf "$row" target inputs edges features 'new inputs' findings)
for target in "${targets[@]}"; do
  label=$(label_of "$target")
  folder=$cache/fuzz/$target
  log=$folder/log
  mkdir -p "$folder"
  say "fuzzing $target for $seconds s; the log is $log"
  # Only what this run finds counts.
  : >"$folder/started"
  failed=
  FUZZ_FOLDER=$folder FUZZ_SECONDS=$seconds \
    tools/bazel run "${progress[@]}" --config=fuzz "$label" >"$log" 2>&1 </dev/null || failed=1
  found=$(find "$folder/findings" -type f -newer "$folder/started" 2>/dev/null || true)
  if [ -n "$found" ]; then
    said=$(tr '\n' ' ' <<<"$found")
  elif [ -n "$failed" ]; then
    said="failed, see $log"
  else
    said=0
  fi
  [ "$said" = 0 ] || {
    status=1
    tail -n 40 "$log" >&2
  }
  # shellcheck disable=SC2059 # The format is ours.
  table+=$'\n'$(printf "$row" "$target" "$(figure 'number_of_executed_units:')" "$(figure ' cov:')" "$(figure ' ft:')" \
    "$(figure 'new_units_added:')" "$said")
done
printf '%s\n' "$table"
exit $status
