#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs our host under the Codex CLI: a scripted model (codex_model.py) has the CLI run cells and checks what it gets back.
# For each version of the npm package @openai/codex, a copy of the package gets our host in the place of its own.
# Usage: ci/codex.sh HOST [VERSION ...]   HOST may be `own`, for the host that each package brings along.
# V1 frames are spoken up to 0.166; which timings a CLI reads is in docs/conformance.md, and what it cannot say itself is
# said here with CODE_MODE_V1_TIMINGS.
set -euo pipefail

host=${1:?usage: ci/codex.sh HOST [VERSION ...]}
shift
versions=("$@")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=tools/versions.sh
. "$here/../tools/versions.sh"
[ ${#versions[@]} -gt 0 ] || read -ra versions <<<"$(version_of CODEX_OF_FRAMES)"
[ "$host" = own ] || host=$(realpath "$host")
scratch=${CODEX_SCRATCH:-${XDG_CACHE_HOME:-$HOME/.cache}/code_mode/codex}
mkdir -p "$scratch"
failures=0

# The package of a version, unpacked once and kept.
package() {
  local folder=$scratch/$1
  if [ ! -d "$folder" ]; then
    (cd "$scratch" && npm pack --silent "@openai/codex@$1-linux-x64" >/dev/null)
    mkdir "$folder.new"
    tar xzf "$scratch/openai-codex-$1-linux-x64.tgz" -C "$folder.new" --strip-components=1
    rm "$scratch/openai-codex-$1-linux-x64.tgz"
    mv "$folder.new" "$folder"
  fi
  echo "$folder"
}

# What the hello of a CLI leaves open.
timings() {
  case $1 in
    0.153.* | 0.154.* | 0.155.* | 0.156.* | 0.157.*) echo duration ;;
    *) echo none ;;
  esac
}

for version in "${versions[@]}"; do
  folder=$(package "$version")
  bin=$(dirname "$(find "$folder" -path '*/bin/codex' -type f)")
  work=$(mktemp -d)
  mkdir "$work/bin"
  cp -al "$bin/." "$work/bin"
  if [ "$host" != own ]; then
    rm "$work/bin/codex-code-mode-host"
    cp "$host" "$work/bin/codex-code-mode-host"
    chmod u+wx "$work/bin/codex-code-mode-host"
  fi
  printf '== Codex CLI %s, timings %s\n' "$version" "$(timings "$version")"
  if ! CODE_MODE_V1_TIMINGS=$(timings "$version") python3 "$here/codex_model.py" "$work/bin/codex" "$work"; then
    failures=$((failures + 1))
    tail -n 30 "$work/log"
  fi
  rm -rf "$work"
done
[ "$failures" -eq 0 ]
