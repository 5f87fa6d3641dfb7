#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the packages twice, from two folders of different names, and compares every byte. Meant for every night.
# Usage: ci/reproducible.sh [--above-v8] [REVISION]   the revision is HEAD unless it is named
#
# Without an option nothing comes from a cache: V8 is compiled twice, about an hour on two cores. With --above-v8 V8's
# objects and what generates them may come from the disk cache; all Rust is compiled and everything is packed twice.
# Prints the checksum of each package. Status 1: a package differs; both builds are kept in a folder that is named then.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/root/lib.sh
. tools/root/lib.sh

uncached=(--disk_cache=)
if [ "${1:-}" = --above-v8 ]; then
  shift
  # Whatever is not C++ is run again: a result of the cache is neither read nor written.
  again='^(CargoBuildScriptRun|FileWrite|Notices|Pack|ProgramManual|Rustc|StripProgram|TypeScript)$'
  uncached=("--modify_execution_info=$again=+no-cache")
fi
revision=$(git rev-parse --verify "${1:-HEAD}^{commit}")
scratch=$(mktemp -d "$(cache_folder)/run/reproducible-XXXXXX")

# The second name is of another length: a path that gets into a program also moves what follows it.
folders=("$scratch/one" "$scratch/the-other")

clean_up() {
  local folder
  for folder in "${folders[@]}"; do
    [ ! -d "$folder" ] || (cd "$folder" && tools/bazel --output_base="$folder.out" shutdown) || true
    git worktree remove --force "$folder" 2>/dev/null || true
  done
  chmod -R u+w "$scratch"
  rm -rf "$scratch"
}
trap clean_up EXIT

for folder in "${folders[@]}"; do
  git worktree add --quiet --detach "$folder" "$revision"
  say "building $revision in $folder"
  (
    cd "$folder"
    tools/bazel --output_base="$folder.out" build --config=release "${uncached[@]}" //dist:packages //dist:symbols
    cd -P bazel-bin/dist
    sha256sum ./*.tar.gz ./*.deb ./*.whl ./*.tgz ./*.tar
  ) >"$folder.sums"
  (cd "$folder" && tools/bazel --output_base="$folder.out" shutdown)
done

cat "${folders[0]}.sums"
if ! diff "${folders[0]}.sums" "${folders[1]}.sums" >&2; then
  # What differs can only be found out from what was built.
  trap - EXIT
  die "the packages of the two folders differ; both builds are kept in $scratch"
fi
say "both folders gave the same $(wc -l <"${folders[0]}.sums") packages"
