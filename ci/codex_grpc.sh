#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the Codex CLI, unchanged, against a scripted model, with a host of ours in the place of its own, and checks what
# the model is shown: exec, wait, notify, images, store, parallel tools, a terminated loop. The CLI speaks gRPC to it.
# Usage: ci/codex_grpc.sh [HOST]
#   HOST  the host program; without it the CLI keeps its own, which shows that the checks hold for that one too.
# Needs npm, which fetches the package of the CLI once (CODEX_PACKAGE names the folder of one that is there already).
set -euo pipefail

workspace=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=tools/versions.sh
. "$workspace/tools/versions.sh"
version=$(version_of CODEX)-linux-x64
sum=$(version_of CODEX_LINUX_SHA512)
host=${1:-}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/code_mode/codex

fetch() {
  local archive="openai-codex-$version.tgz"
  mkdir -p "$cache"
  (
    cd "$cache"
    [ -f "$archive" ] || npm pack --silent "@openai/codex@$version" >/dev/null
    echo "$sum  $archive" | sha512sum --check --quiet
    tar -xzf "$archive"
  )
}

package=${CODEX_PACKAGE:-$cache/package}
[ -d "$package" ] || fetch
original=$(dirname "$(echo "$package"/vendor/*/bin/codex)")

# The temporary folder is not the system's: the CLI puts no helpers there.
mkdir -p "$cache"
folder=$(mktemp -d "$cache/run.XXXXXX")
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin"
# The CLI looks for its host beside itself.
ln "$original/codex" "$folder/bin/codex" 2>/dev/null || cp "$original/codex" "$folder/bin/codex"
cp "${host:-$original/codex-code-mode-host}" "$folder/bin/codex-code-mode-host"

python3 "$workspace/ci/codex_grpc.py" "$folder/bin/codex" "$folder"
