#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes a build root of the packages that a lock names. Usage: make.sh FOLDER CACHE LOCK. Writes FOLDER/fs and
# FOLDER/manifest; the caller sees to locks and names.
#
# The packages are unpacked and not configured: no maintainer script runs. So an ordinary user needs no privilege at all
# to make a root, a root is decided by its packages alone, and a wrong root can be deleted with rm. The few things that
# the scripts would have made and a build needs are made by `finish` below. Nothing of this machine gets into it.
set -euo pipefail
# The files that `finish` makes are the same whoever makes them.
umask 022
target=$(cd "$1" && pwd -P)
cache=$2
lock=$3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=tools/root/lib.sh
. "$here/lib.sh"
# shellcheck source=tools/root/debs.sh
. "$here/debs.sh"

started=$SECONDS
stage() { printf 'build root: %4d s  %s\n' $((SECONDS - started)) "$*" >&2; }

# Says every ten seconds how much a folder holds, until killed or orphaned: nobody is to wait before a silent screen.
ticker() {
  while sleep 10 && kill -0 $$ 2>/dev/null; do
    stage "$1: $(du -sm "$2" 2>/dev/null | cut -f1) MB so far"
  done
}

# Runs a command with a ticker beside it. Usage: ticking WHAT FOLDER COMMAND...
ticking() {
  local ticker_id status=0
  # Without the lock that this process inherited: what is left of the ticker at the end writes nothing.
  ticker "$1" "$2" 9>&- &
  ticker_id=$!
  "${@:3}" || status=$?
  kill "$ticker_id" 2>/dev/null || true
  wait "$ticker_id" 2>/dev/null || true
  return "$status"
}

# The paths that unneeded.txt names, one on a line.
unneeded() { grep -Ev '^(#|$)' "$here/unneeded.txt" | sed 's/^/.\//'; }

# Unpacks one package. Usage: unpack_deb SHA256 DESTINATION.
# Folders that are links stay: /lib is one, and packages still hold files below it. Owners are whoever unpacks, and no
# file may run with another one's rights.
unpack_deb() {
  dpkg-deb --fsys-tarfile "$cache/debs/$1.deb" |
    tar --extract --file=- --directory="$2" --keep-directory-symlink --no-same-owner --preserve-permissions \
      --anchored --no-wildcards-match-slash --exclude-from="$target/unneeded"
}

# Unpacks a suite's packages, as many at a time as there are processors. Usage: unpack SUITE DESTINATION.
unpack() {
  local suite=$1 destination=$2 sum
  mkdir "$destination"
  # This one makes /bin, /lib and the others links; it goes first because files go through them.
  sum=$(awk -v suite="$suite" '$1 == suite && $2 == "base-files" { print $4 }' "$lock")
  [ -z "$sum" ] || unpack_deb "$sum" "$destination"
  # shellcheck disable=SC2016 # The inner shell is to expand it.
  awk -v suite="$suite" '$1 == suite && $2 != "base-files" { print $4 }' "$lock" |
    xargs --max-args=1 --max-procs="$(nproc)" bash -c 'set -euo pipefail; unpack_deb "$2" "$1"' unpack "$destination"
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
  # enter.sh puts the user's own id in their place.
  printf '%s\n' 'root:x:0:0:root:/:/bin/sh' >"$fs/etc/passwd"
  printf '%s\n' 'root:x:0:' >"$fs/etc/group"
  printf '127.0.0.1 localhost\n::1 localhost\n' >"$fs/etc/hosts"
  # Where enter.sh mounts things: it cannot make these places, the root being read-only.
  mkdir -p "$fs/usr/local" "$fs/usr/src" "$fs/etc/ssl/certs"
  : >"$fs/etc/resolv.conf"
  : >"$fs/etc/ssl/certs/ca-certificates.crt"
  # Places that a program in a container of the image expects.
  mkdir -p "$fs"/{dev,proc,run,sys,tmp,var/tmp}
  chmod 1777 "$fs/tmp" "$fs/var/tmp"
  # Whoever makes a root, and whenever: the same files. Times of files are the packages'.
  find "$fs" -perm /6000 -type f -exec chmod ug-s {} +
  find "$fs" \( -type d -o -newer "$target/unneeded" \) -print0 | xargs -0 touch --no-dereference --date=@0
}

export -f unpack_deb
export cache target
unneeded >"$target/unneeded"
ticking "packages" "$cache/debs" fetch_debs "$cache" "$lock"
stage "unpacking"
ticking "unpacking" "$target" unpack bookworm "$target/sysroot"
ticking "unpacking" "$target" unpack forky "$target/fs"
rm -rf "$target"/sysroot/{etc,var}
make_links_relative "$target/sysroot"
mkdir -p "$target/fs/opt"
mv "$target/sysroot" "$target/fs/opt/sysroot"
finish "$target/fs"
rm "$target/unneeded"
lock_packages "$lock" | cut -d' ' -f1-4 | LC_ALL=C sort >"$target/manifest"
stage "done: $(wc -l <"$target/manifest") packages, $(du -sm "$target/fs" | cut -f1) MB"
