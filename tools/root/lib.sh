# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Shared by tools/bazel and the scripts in tools/root: where things live, and what makes a root the right one.
#
# Layout of the cache folder (`code_mode` in the user's cache folder):
#   debs/SHA256.deb     every package that a root was made of
#   roots/lock          held while a root is being made
#   roots/KEY/fs        the root's files: never changed once roots/KEY has its name
#   roots/KEY/manifest  what was unpacked: lines "suite name version sha256"
#   roots/KEY/differences   manifest against packages.lock; empty unless the root is CODE_MODE_ROOT=newest
#   roots/KEY/toolchain_key hash of the packages that can change what a build puts out
#   roots/KEY/used      its time is that of the last use
#   bazel/ disk/ repos/ Bazel's output bases, disk cache and repository cache
#   cargo/ home/ rc/ run/   CARGO_HOME and HOME inside, generated bazelrc files, scripts of `bazel run`

root_scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root_lock_file=${CODE_MODE_ROOT_LOCK:-$root_scripts/packages.lock}
# shellcheck source=tools/root/host.sh
. "$root_scripts/host.sh"
# shellcheck source=tools/root/collect.sh
. "$root_scripts/collect.sh"

# What an image of a root says about itself. On a machine that has this folder, the machine is the root.
image_folder=${CODE_MODE_ROOT_IMAGE_FOLDER:-/etc/code_mode_root}

say() { printf 'code_mode: %s\n' "$*" >&2; }

die() {
  say "$*"
  exit 1
}

# Prints the cache folder, made if need be, without symbolic links: it is mounted at this very path.
cache_folder() {
  local folder=${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/code_mode
  mkdir -p "$folder"/{roots,debs,bazel,disk,repos,cargo,home,rc,run}
  (cd "$folder" && pwd -P)
}

# The key of the root: the lock and everything that shapes the root's files. Comments in the lists count too: a new root
# is cheap, a root that is silently the wrong one is not.
root_key() {
  cat "$root_lock_file" "$root_scripts"/{packages.txt,sysroot.txt,unneeded.txt,lib.sh,make.sh,debs.sh} |
    sha256sum | cut -c1-16
}

# Prints one line for each package in which a manifest ($2) departs from the lock ($1). A lock's lines are
# "suite name version sha256 file" but for the one that says "archive TIME"; a manifest's end before the file.
# Prints nothing when they agree.
lock_differences() {
  awk '
    /^#/ || NF == 0 || ($1 == "archive" && NF == 2) { next }
    NF < 4 || NF > 5 { printf "%s: line %d is not \"suite name version sha256 file\"\n", FILENAME, FNR > "/dev/stderr"; bad = 1; exit 2 }
    { key = $1 " " $2 }
    FILENAME == ARGV[1] { locked[key] = $3; locked_sum[key] = $4; next }
    {
      seen[key] = 1
      if (!(key in locked)) print key ": locked nothing, got " $3
      else if (locked[key] != $3) print key ": locked " locked[key] ", got " $3
      else if (locked_sum[key] != $4) print key ": locked " $3 " sha256 " locked_sum[key] ", got sha256 " $4
    }
    END { if (bad) exit 2; for (key in locked) if (!(key in seen)) print key ": locked " locked[key] ", got nothing" }
  ' "$1" "$2" | LC_ALL=C sort
}

# Hash over those lines of a manifest ($1) that can change a build's output: compilers, linkers, generators, Bazel with
# its rules, and the whole sysroot. Bazel does not see a new compiler behind an unchanged /usr/bin/clang-22; the
# toolchains put this key into their actions, so that results of different compilers never mix in a cache.
toolchain_key() {
  LC_ALL=C grep -E \
    -e '^bookworm ' \
    -e '^forky (clang-|libclang|llvm|libllvm|lld|liblld|libstd-rust|rust|cargo|bindgen|python3|libpython3|bazel)' "$1" |
    sha256sum | cut -c1-32
}

# Tells about a root ($1) that departs from the lock: in full when it is new ($2 is "new"), in one line later.
report_differences() {
  local folder=$1 new=${2:-} count
  [ -s "$folder/differences" ] || return 0
  count=$(wc -l <"$folder/differences")
  if [ -n "$new" ]; then
    say "WARNING CODE_MODE_ROOT=newest: the build root departs from $root_lock_file (differences: $count):"
    sed 's/^/code_mode: WARNING   /' "$folder/differences" >&2
  else
    say "warning: CODE_MODE_ROOT=newest departs from packages.lock (differences: $count), see $folder/differences"
  fi
}

# Takes the lock over all roots on file descriptor 9, and says so when that means waiting.
take_roots_lock() {
  exec 9>"$1/roots/lock"
  flock --nonblock 9 && return 0
  say "another process is making the build root; waiting for it"
  flock 9
}

# Makes a root in a temporary folder beside its place, for the caller to move there. Call it with the roots lock held:
# then every temporary folder is a dead process's. Arguments: the cache folder, and the lock of the packages, or the word
# "image" to take the root from CODE_MODE_ROOT_IMAGE. Prints the temporary folder.
make_root() {
  local cache=$1 source=$2 new stale
  for stale in "$cache"/roots/.new-*; do
    [ ! -e "$stale" ] || rm -rf "$stale"
  done
  new=$(mktemp -d "$cache/roots/.new-XXXXXX")
  chmod 755 "$new"
  # The maker inherits the lock's descriptor, so that the lock is held for as long as anything writes into the folder,
  # even when this process is killed.
  if [ "$source" = image ]; then
    "$root_scripts/image" unpack "$CODE_MODE_ROOT_IMAGE" "$new" "$(root_key)" >&2
  else
    "${CODE_MODE_ROOT_MAKER:-$root_scripts/make.sh}" "$new" "$cache" "$source" >&2
  fi || {
    rm -rf "$new"
    die "the build root could not be made; the lines above say why"
  }
  toolchain_key "$new/manifest" >"$new/toolchain_key"
  printf '%s\n' "$new"
}

# Makes the root of this workspace's lock unless it is there, and prints its folder.
# A subshell, so that the lock goes with it and no server started later inherits it.
ensure_root() (
  cache=$1
  [ -f "$root_lock_file" ] || die "$root_lock_file is missing; tools/root/relock writes it"
  key=$(root_key)
  if [ -d "$image_folder" ]; then
    [ "$(cat "$image_folder/key")" = "$key" ] ||
      die "this machine is the build root $(cat "$image_folder/key"), and the workspace wants $key: take that one's image"
    printf '%s\n' "$image_folder"
    return 0
  fi
  case ${CODE_MODE_ROOT:-locked} in
    locked) source=$root_lock_file ;;
    newest) key=$key-newest ;;
    *) die "CODE_MODE_ROOT=$CODE_MODE_ROOT is neither \"locked\" nor \"newest\"" ;;
  esac
  folder=$cache/roots/$key
  if [ ! -d "$folder" ]; then
    require_root_maker
    take_roots_lock "$cache"
    if [ ! -d "$folder" ]; then
      if [ "$key" != "${key%-newest}" ]; then
        source=$cache/roots/newest.lock
        "${CODE_MODE_ROOT_RESOLVER:-$root_scripts/newest.sh}" >"$source" || die "the newest packages could not be found out"
      elif [ -n "${CODE_MODE_ROOT_IMAGE:-}" ]; then
        source=image
      fi
      new=$(make_root "$cache" "$source") || exit 1
      lock_differences "$root_lock_file" "$new/manifest" >"$new/differences" || exit 1
      if [ -s "$new/differences" ] && [ "$key" = "${key%-newest}" ]; then
        cat "$new/differences" >&2
        rm -rf "$new"
        die "the root is not the locked one"
      fi
      : >"$new/used"
      mv -T "$new" "$folder"
      collect_roots "$cache" "$folder"
      report_differences "$folder" new
      printf '%s\n' "$folder"
      return 0
    fi
  fi
  : >"$folder/used"
  report_differences "$folder"
  printf '%s\n' "$folder"
)
