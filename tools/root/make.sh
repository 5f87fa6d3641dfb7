#!/bin/bash
# Makes a build root. Usage: make.sh FOLDER [locked|unlocked]. Writes FOLDER/fs and FOLDER/manifest; the caller sees to
# locks and names. With "unlocked" the versions of packages.lock are not asked for.
#
# The packages are unpacked and not configured: no maintainer script runs. So an ordinary user needs no privilege at all
# to make a root, a root is decided by its packages alone, and a wrong root can be deleted with rm. The few things that
# the scripts would have made and a build needs are made by `finish` below.
set -euo pipefail
target=$(cd "$1" && pwd -P)
mode=${2:-locked}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=tools/root/lib.sh
. "$here/lib.sh"

started=$SECONDS
stage() { printf 'build root: %4d s  %s\n' $((SECONDS - started)) "$*" >&2; }

# The mirror that this machine's apt uses, or nothing, which leaves mmdebstrap its default.
mirror() {
  if [ -n "${CODE_MODE_DEBIAN_MIRROR:-}" ]; then
    printf '%s\n' "$CODE_MODE_DEBIAN_MIRROR"
  else
    # Debian's own archive has a path that ends in /debian; its security archive and foreign archives do not.
    # shellcheck disable=SC2016 # The $( ) is apt's format.
    apt-get indextargets --format '$(REPO_URI)' 'Component: main' 'Identifier: Packages' | grep -E '/debian/?$' | head -n1 || true
  fi
}

# How this machine's apt reaches mirrors (proxies, certificates), as lines of an apt configuration.
mirror_options() { apt-config dump --no-empty --format '%f "%v";%n' Acquire::http Acquire::https; }

# The packages of a list file, joined by commas.
package_list() { grep -Ev '^(#|$)' "$1" | paste -sd, -; }

# Asks apt for the locked versions of a suite. A pin on a version that the mirror lacks has no effect: then the newest
# one is taken and the difference is reported afterwards.
write_pins() {
  local suite=$1 file=$2
  : >"$file"
  [ "$mode" = locked ] || return 0
  awk -v suite="$suite" '$1 == suite { printf "Package: %s\nPin: version %s\nPin-Priority: 1001\n\n", $2, $3 }' \
    "$root_lock_file" >"$file"
}

# Says every ten seconds how far the unpacking in a folder is, until killed or orphaned: nobody is to wait before a silent screen.
ticker() {
  while sleep 10 && kill -0 $$ 2>/dev/null; do
    stage "$1: $(du -sm "$2" 2>/dev/null | cut -f1) MB so far"
  done
}

# Passes on what mmdebstrap says, but for its routine and for two warnings of root that do not apply here: no maintainer
# script runs, and apt's download as root is checked by signature like any other.
relay() {
  local line
  while IFS= read -r line; do
    case $line in
      "I: running --"* | "I: skipping "* | "I: finding "* | "I: automatically "*) ;;
      "W: running chrootless mode as root"* | "W: Download is performed unsandboxed"*) ;;
      *) stage "$1: ${line#I: }" ;;
    esac
  done
}

# Unpacks a suite's packages. Usage: unpack SUITE LIST DESTINATION.
unpack() {
  local suite=$1 list=$2 destination=$3 url sources=() options=() option ticker_id status=0
  url=$(mirror)
  [ -z "$url" ] || sources=("deb $url $suite main")
  while IFS= read -r option; do
    options+=("--aptopt=$option")
  done < <(mirror_options)
  export record_script=$here/record.sh record_suite=$suite
  export record_manifest=$target/manifest.$suite record_pins=$target/pins.$suite
  write_pins "$suite" "$record_pins"
  stage "$suite: fetching the package lists${url:+ from $url}"
  ticker "$suite" "$destination" &
  ticker_id=$!
  # Check-Valid-Until: mirrors that change rarely carry a Release file of testing past its date, and a snapshot always
  # does. The signature is still checked, and packages.lock decides what is right.
  # check/chrootless: mmdebstrap refuses this mode to root because maintainer scripts would run on the host; the variant
  # "extract" runs none.
  # shellcheck disable=SC2016 # The hooks are run by mmdebstrap's shell.
  mmdebstrap --mode=chrootless --variant=extract --skip=check/chrootless \
    --architectures=amd64 --components=main \
    --aptopt='Acquire::Check-Valid-Until "false"' \
    --aptopt='Acquire::Retries "3"' ${options[@]+"${options[@]}"} \
    --setup-hook='mkdir -p "$1/etc/apt/preferences.d" && cp "$record_pins" "$1/etc/apt/preferences.d/locked"' \
    --extract-hook='rm "$1/etc/apt/preferences.d/locked"' \
    --extract-hook='sh "$record_script" "$record_suite" "$1" "$record_manifest"' \
    --include="$(package_list "$list")" \
    "$suite" "$destination" "${sources[@]}" 2>&1 | relay "$suite" || status=$?
  kill "$ticker_id" 2>/dev/null || true
  wait "$ticker_id" 2>/dev/null || true
  return "$status"
}

# The packages' absolute symbolic links would lead out of the sysroot; the linker would then see the root's own glibc.
make_links_relative() {
  local sysroot=$1 link
  find "$sysroot" -type l -lname '/*' -print0 | while IFS= read -r -d '' link; do
    ln -snfr "$sysroot$(readlink "$link")" "$link"
  done
}

# What maintainer scripts would have made and a build needs.
finish() {
  local fs=$1
  # Alternatives.
  ln -s mawk "$fs/usr/bin/awk"
  ln -s which.debianutils "$fs/usr/bin/which"
  # Bazel must not read Debian's file as it stands, see tools/bazel, and warns when told to pass it over.
  mv "$fs/etc/bazel/bazelrc" "$fs/etc/bazel/bazelrc.debian"
  # The users: Bazel wants a name for whoever runs it. Always the same one, because names leak into build outputs.
  printf '%s\n' 'root:x:0:0:root:/:/bin/sh' >"$fs/etc/passwd"
  printf '%s\n' 'root:x:0:' >"$fs/etc/group"
  if [ "$(id -u)" != 0 ]; then
    printf 'builder:x:%s:%s:builder:/:/bin/sh\n' "$(id -u)" "$(id -g)" >>"$fs/etc/passwd"
  fi
  if [ "$(id -g)" != 0 ]; then
    printf 'builder:x:%s:\n' "$(id -g)" >>"$fs/etc/group"
  fi
  printf '127.0.0.1 localhost\n::1 localhost\n' >"$fs/etc/hosts"
  # Where enter.sh mounts things: it cannot make these places, the root being read-only.
  mkdir -p "$fs/usr/local" "$fs/usr/src" "$fs/etc/ssl/certs"
  : >"$fs/etc/resolv.conf"
  : >"$fs/etc/ssl/certs/ca-certificates.crt"
}

unpack bookworm "$here/sysroot.txt" "$target/sysroot"
unpack forky "$here/packages.txt" "$target/fs"
stage "putting the root together"
rm -rf "$target"/sysroot/{dev,etc,tmp,var}
make_links_relative "$target/sysroot"
mkdir -p "$target/fs/opt"
mv "$target/sysroot" "$target/fs/opt/sysroot"
finish "$target/fs"
LC_ALL=C sort "$target"/manifest.* >"$target/manifest"
rm "$target"/manifest.* "$target"/pins.*
stage "done: $(wc -l <"$target/manifest") packages, $(du -sm "$target/fs" | cut -f1) MB"
