#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Shows that each action that runs something has a key of the build root among its inputs, and each test in its
# environment. Bazel does not see the root's programs: without a key it would take an old result for another root's.
# Status 1: an action has none; its kind is named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/root/lib.sh
. tools/root/lib.sh

# Bazel does these itself and runs nothing for them.
of_bazel='^(ExecutableSymlink|FileWrite|Middleman|RepoMappingManifest|SourceSymlinkManifest|Symlink|SymlinkTree|TranslateBuildInfo)$'

query() { tools/bazel aquery --noshow_progress --ui_event_filters=-info "$@"; }

# How many actions there are of each kind, as "KIND COUNT".
kinds() {
  query --output=summary "$1" |
    awk -v of_bazel="$of_bazel" '
      /^$/ { listed = 0 }
      listed && NF == 2 { sub(":", "", $1); if ($1 !~ of_bazel && $1 != "TestRunner") print }
      /^Mnemonics:/ { listed = 1 }
    ' | LC_ALL=C sort
}

# The keys of the tests' actions with a value in place of the root's key, sorted: what a cache finds their results by.
tests_with() {
  query --output=text --include_artifacts=false --include_commandline=false --test_env="CODE_MODE_ROOT_KEY=$1" \
    'mnemonic("^TestRunner$", //...)' | sed -n 's/^  ActionKey: //p' | LC_ALL=C sort
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

kinds 'deps(//...)' >"$scratch/all"
kinds 'inputs(".*/(root|toolchain)_key[.]txt$", deps(//...))' >"$scratch/keyed"
[ -s "$scratch/all" ] || die "no action was found"
status=0
LC_ALL=C comm -23 "$scratch/all" "$scratch/keyed" >"$scratch/without"
while read -r kind count; do
  keyed=$(awk -v kind="$kind" '$1 == kind { print $2 }' "$scratch/keyed")
  say "$kind: ${keyed:-0} of $count actions have a key of the build root among their inputs"
  status=1
done <"$scratch/without"

# The same tests would be found again under another root if a key did not change with it.
tests_with one >"$scratch/one"
tests_with another >"$scratch/another"
[ -s "$scratch/one" ] || die "no test was found"
unchanged=$(LC_ALL=C comm -12 "$scratch/one" "$scratch/another" | wc -l)
if [ "$unchanged" -gt 0 ]; then
  say "$unchanged of $(wc -l <"$scratch/one") tests would keep their results under another build root"
  status=1
fi

[ "$status" = 0 ] || die "give them //tools/toolchain/cc:root_key, or :key where a compiler runs"
say "all actions have a key: $(awk '{ sum += $2 } END { print sum }' "$scratch/all") that run something, and $(wc -l <"$scratch/one") tests"
