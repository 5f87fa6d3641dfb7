#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs the packages as their users would and runs the example from each.
# Usage: ci/dist.sh [FOLDER]   where the packages are; by default bazel-bin/dist, as built by
#   tools/bazel build --config=release //dist:packages //dist:symbols
# Prints a line for each check, "ok" or "FAIL". Status 1: a check failed. What Bazel's sandbox cannot do is here: it has
# no npm, no pip, no dpkg and no bubblewrap. Needs these of the machine (Node 20, Python 3.11), and the build root.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
packages=$(cd -P "${1:-bazel-bin/dist}" && pwd) || exit 2
# shellcheck source=tools/root/lib.sh
. tools/root/lib.sh
sysroot=$(ensure_root "$(cache_folder)")/fs/opt/sysroot || exit 2
scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch" && rm -rf "$scratch"' EXIT
log=$scratch/log
failures=0

# Runs a check in a subshell that ends at the first failing command, and says how it went.
check() {
  local what=$1 started=$SECONDS status
  shift
  # Not as a condition: bash would pass over every failure in it but the last.
  (
    set -e
    "$@"
  ) >"$log" 2>&1 </dev/null
  status=$?
  if [ $status = 0 ]; then
    printf 'ok    %3d s  %s\n' $((SECONDS - started)) "$what"
  else
    printf 'FAIL  %3d s  %s\n' $((SECONDS - started)) "$what"
    sed 's/^/      | /' "$log"
    failures=$((failures + 1))
  fi
}

# The one file that a pattern names.
package() {
  # shellcheck disable=SC2206 # The pattern is to become names.
  local found=("$packages"/$1)
  [ ${#found[@]} = 1 ] && [ -f "${found[0]}" ] || { echo "there is no single $1 in $packages" >&2 && return 1; }
  printf '%s\n' "${found[0]}"
}

# Fails unless a command's output is the expected text.
expect() {
  local expected=$1 said
  shift
  said=$("$@") || { echo "status $? of $*, which said: $said" && return 1; }
  [ "$said" = "$expected" ] || { echo "expected: $expected" && echo "said: $said" && return 1; }
}

# Fails unless a command fails and says the sentence in one line.
expect_refusal() {
  local sentence=$1 said
  shift
  if said=$("$@" 2>&1); then echo "was not refused: $*" && return 1; fi
  grep -qF -- "$sentence" <<<"$said" || { echo "expected: $sentence" && echo "said: $said" && return 1; }
}

# A root of Debian 12's C library and nothing else: no shell, no other program. The product is in /opt.
bare_debian() {
  local folder=$1
  shift
  env -i bwrap --unshare-all --die-with-parent \
    --ro-bind "$sysroot/usr/lib" /usr/lib --ro-bind "$sysroot/lib" /lib --ro-bind "$sysroot/lib64" /lib64 \
    --ro-bind "$folder" /opt --proc /proc --dev /dev --tmpfs /tmp \
    --chdir /tmp --setenv PATH /opt/bin -- "$@"
}

check_tarball() {
  local folder=$scratch/tarball
  mkdir "$folder"
  tar -xzf "$(package 'code_mode-*-linux-x86_64.tar.gz')" -C "$folder" --strip-components=1
  (cd "$folder" && sha256sum --quiet -c SHA256SUMS)
  expect 'HELLO DEBIAN' bare_debian "$folder" /opt/bin/code_mode \
    run /opt/share/code_mode/examples/hello/hello.js debian --tools /opt/share/code_mode/examples/hello/tools.json
}

check_doctor() {
  local failed
  # There is no `cat` there, which is what the check of a tool call runs, so doctor's own status is 1.
  bare_debian "$scratch/tarball" /opt/bin/code_mode doctor --json >"$scratch/doctor" || true
  cat "$scratch/doctor"
  failed=$(grep '"status":"fail"' "$scratch/doctor" | grep -v '"check":"tool call"' || true)
  [ -z "$failed" ]
  # It went through to its last check, and both programs are of one build.
  grep '"check":"CPU limit"' "$scratch/doctor" | grep -q '"status":"ok"'
  grep '"check":"same build"' "$scratch/doctor" | grep -q '"status":"ok"'
}

check_deb() {
  local folder=$scratch/deb library
  mkdir -p "$folder/var/lib/dpkg/"{info,updates}
  # What the package depends on, as this Debian has it: dpkg looks at no files.
  for library in libc6 libgcc-s1 gcc-12-base libcrypt1; do
    dpkg-query --status "$library"
    echo
  done >"$folder/var/lib/dpkg/status"
  dpkg --root="$folder" --force-not-root --install "$(package 'code-mode_*_amd64.deb')"
  dpkg --root="$folder" --status code-mode | grep '^Status: install ok installed'
  dpkg --root="$folder" --verify code-mode
  expect 'HELLO DPKG' bare_debian "$folder/usr" /opt/bin/code_mode \
    run /opt/share/code_mode/examples/hello/hello.js dpkg --tools /opt/share/code_mode/examples/hello/tools.json
  dpkg --root="$folder" --force-not-root --remove code-mode
  [ ! -e "$folder/usr/bin/code_mode" ]
}

example=$PWD/examples/hello

# npm with a cache of its own, so that nothing of an earlier run helps; no network is needed.
npm_offline() { npm --offline --no-audit --no-fund --update-notifier=false --cache "$scratch/npm-cache" "$@"; }

check_npm() {
  mkdir "$scratch/npm"
  cd "$scratch/npm"
  npm_offline init -y
  npm_offline install "$(package 'code-mode-client-linux-x64-*.tgz')" "$(package 'code-mode-client-[0-9]*.tgz')"
  # The tool of the example finds the program where npx puts it.
  expect 'HELLO NPX' npx --offline code_mode run "$example/hello.js" npx --tools "$example/tools.json"
  cat >library.mjs <<'JS'
import { Session, tool } from "code-mode-client";
const add = tool({
  name: "add",
  inputSchema: { type: "object", properties: { a: { type: "number" }, b: { type: "number" } } },
  handler: ({ a, b }) => a + b,
});
const session = await Session.open({ tools: [add] });
console.log((await session.exec("text(await tools.add({ a: 1, b: 2 }))")).text);
await session.close();
JS
  expect 3 env -u CODE_MODE_HOST node library.mjs
}

check_npm_elsewhere() {
  mkdir "$scratch/npm-elsewhere"
  cd "$scratch/npm-elsewhere"
  npm_offline init -y
  npm_offline install --os=darwin --cpu=arm64 "$(package 'code-mode-client-[0-9]*.tgz')"
  echo 'Object.defineProperties(process, { platform: { value: "darwin" }, arch: { value: "arm64" } });' >mac.cjs
  expect_refusal 'code_mode: there is no program for darwin-arm64, only for linux-x64' \
    node --require ./mac.cjs node_modules/.bin/code_mode run x.js
  # npm asks Node itself where it runs when a package was named, so Node has to say so.
  expect_refusal 'Unsupported platform for code-mode-client-linux-x64' \
    env NODE_OPTIONS="--require $PWD/mac.cjs" npm --offline --no-audit --no-fund --update-notifier=false \
    --cache "$scratch/npm-cache" install "$(package 'code-mode-client-linux-x64-*.tgz')"
}

# pip without any index: only the folder of the packages.
pip_here() { "$1" -m pip --disable-pip-version-check install --no-index --find-links "$packages" "${@:2}"; }

check_pip() {
  local venv=$scratch/venv
  python3 -m venv "$venv"
  pip_here "$venv/bin/python" code-mode-client
  "$venv/bin/pip" check
  expect 'HELLO PIP' env PATH="$venv/bin:$PATH" code_mode run "$example/hello.js" pip --tools "$example/tools.json"
  cat >"$scratch/library.py" <<'PY'
import asyncio
from code_mode import Session

def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b

async def main():
    async with Session(tools=[add]) as session:
        print((await session.exec("text(await tools.add({ a: 1, b: 2 }))")).text)

asyncio.run(main())
PY
  expect 3 env -u CODE_MODE_HOST "$venv/bin/python" "$scratch/library.py"
}

check_pip_elsewhere() {
  local target=$scratch/pip-elsewhere
  pip_here python3 --platform macosx_11_0_arm64 --only-binary=:all: --target "$target" code-mode-client
  expect_refusal 'code_mode: there is no program for darwin-arm64, only for linux-x86_64' \
    env PYTHONPATH="$target" python3 -c 'import sys; from code_mode.program import main; sys.exit(main(platform_name="darwin-arm64"))'
  expect_refusal 'is not a supported wheel on this platform' \
    pip_here python3 --platform macosx_11_0_arm64 --only-binary=:all: --target "$target" "$(package '*manylinux*.whl')"
}

# A container's view of the image, without a container runtime: its root, its user, its environment.
in_image() {
  env -i bwrap --unshare-all --die-with-parent --uid 65532 --gid 65532 \
    --ro-bind "$scratch/image/root" / --proc /proc --dev /dev --tmpfs /tmp \
    --chdir /tmp --setenv PATH /usr/bin -- "$@"
}

check_image() {
  local folder=$scratch/image
  mkdir -p "$folder/root"/{proc,dev,tmp}
  tar -xf "$(package '*-image.tar')" -C "$folder"
  # The layers in their order, and the check of health, by the image's own account.
  python3 - "$folder" >"$folder/health" <<'PY'
import json, subprocess, sys
folder = sys.argv[1]
def blob(reference):
    return f"{folder}/blobs/{reference['digest'].replace(':', '/')}"
manifest = json.load(open(blob(json.load(open(f"{folder}/index.json"))["manifests"][0])))
for layer in manifest["layers"]:
    subprocess.run(["tar", "-xzf", blob(layer), "-C", f"{folder}/root"], check=True)
config = json.load(open(blob(manifest["config"])))["config"]
assert config["User"] == "65532:65532", config
assert config["Entrypoint"] == ["/usr/bin/code_mode_host"], config
print("\0".join(config["Healthcheck"]["Test"][1:]), end="")
PY
  local health
  mapfile -d '' -t health <"$folder/health"
  expect well in_image "${health[@]}"
  expect 'HELLO IMAGE' in_image /usr/bin/code_mode run /usr/share/code_mode/examples/hello/hello.js image \
    --tools /usr/share/code_mode/examples/hello/tools.json
  in_image /usr/bin/code_mode_host --version
  expect_refusal 'No such file or directory' in_image /bin/sh -c true
}

# Whether an address in a program leads to a line of its source by the symbols that are packed apart.
check_symbols() {
  local folder=$scratch/symbols identity address
  mkdir "$folder"
  tar -xzf "$(package '*-symbols.tar.gz')" -C "$folder"
  identity=$(readelf -n "$scratch/tarball/bin/code_mode_host" | sed -n 's/.*Build ID: //p')
  local debug=$folder/.build-id/${identity:0:2}/${identity:2}.debug
  [ -f "$debug" ]
  address=$(nm --demangle "$debug" | sed -n 's/^\([0-9a-f]*\) t code_mode_host::process::main.*/\1/Ip' | head -n 1)
  addr2line -e "$debug" "$address" | tee -a "$log" | grep -q 'host/src/process.rs:[0-9]'
  # V8's own functions are known by name.
  # Read to the end: nm would fail on a pipe that its reader has closed.
  nm --demangle "$debug" | grep 'v8::internal::Heap::CollectGarbage' >/dev/null
}

check 'tarball: the example on a bare Debian 12' check_tarball
check 'tarball: doctor on a bare Debian 12' check_doctor
check 'deb: installed by dpkg, the example, removed' check_deb
check 'npm: installed, npx runs the example, the library its own' check_npm
check 'npm: on another system one sentence says what is wrong' check_npm_elsewhere
check 'pip: installed into a fresh environment, the example, the library its own' check_pip
check 'pip: on another system one sentence says what is wrong' check_pip_elsewhere
check 'image: health and the example in its root, as nobody, without a shell' check_image
if [ -e "$(package '*-symbols.tar.gz' 2>/dev/null)" ]; then
  check 'symbols: an address leads to its line' check_symbols
else
  echo 'none         symbols: they are made with --config=release only, and are not here'
fi
[ $failures = 0 ]
