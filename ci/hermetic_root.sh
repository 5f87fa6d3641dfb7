#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Shows that a build takes nothing from the host but the kernel. Usage: ci/hermetic_root.sh [TARGET...]
#
#  1. Every mount that Bazel's namespace has is the build root's, the workspace, the cache, or the kernel's.
#  2. The targets build from nothing (own output base, no disk cache) on a host that is stripped to bash, bubblewrap and
#     the core utilities - no compiler, linker, interpreter, header or SDK - with an emptied PATH and environment.
#  3. Every file that came out is byte for byte what the full host's build gives.
#  4. The programs of //ci/hermetic, when they are the targets, run on the host, outside the root.
set -euo pipefail

workspace=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=tools/root/lib.sh
. "$workspace/tools/root/lib.sh"
# shellcheck source=tools/root/enter.sh
. "$workspace/tools/root/enter.sh"

targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(//ci/hermetic:c //ci/hermetic:rust)
cache=$(cache_folder)
require_bwrap
root=$(ensure_root "$cache")
stripped=$(mktemp -d "$cache/run/hermetic-XXXXXX")

# What tools/bazel calls on the host once the root is made.
host_programs=(bash sh bwrap cat cmp cp cut dirname env flock grep head id ls mkdir mktemp mv readlink rm sed sha256sum sort true wc)

# Programs that a leaky build would find on an ordinary host; the stripped one must have none of them.
forbidden=(cc gcc g++ c++ clang clang++ ld ld.lld ld.bfd as ar cpp make cmake ninja rustc cargo rustup bindgen python3 perl java javac bazel bazelisk node git)

clean_up() {
  # The servers of the two output bases; without them their folders can go.
  on_full_host full shutdown >/dev/null 2>&1 || true
  on_stripped_host bare shutdown >/dev/null 2>&1 || true
  chmod -R u+w "$stripped"
  rm -rf "$stripped"
}

# Bazel with an output base of its own; the folder's name is the first argument.
on_full_host() { (cd "$workspace" && tools/bazel --output_base="$stripped/$1" "${@:2}"); }
on_stripped_host() { stripped_host "$workspace/tools/bazel" --output_base="$stripped/$1" "${@:2}"; }

# Builds the targets from nothing. The usual bazel-bin links of the workspace stay as they are.
build_by() { "$1" "$2" build --disk_cache= --symlink_prefix="$stripped/$2-" "${targets[@]}"; }

# Runs a command on the stripped host. The mounts are those of the host, minus everything that is not named.
stripped_host() {
  env -i bwrap --ro-bind "$stripped/bin" /usr/bin --symlink usr/bin /bin \
    --ro-bind "$stripped/lib" /usr/lib --symlink usr/lib /lib --symlink usr/lib /lib64 \
    --dev-bind /dev /dev --bind /proc /proc --bind /sys /sys --tmpfs /tmp \
    --bind "$workspace" "$workspace" --bind "$cache" "$cache" --chdir "$workspace" \
    --setenv HOME "${cache%/code_mode}" --setenv XDG_CACHE_HOME "${cache%/code_mode}" --setenv PATH "" -- "$@"
}

# Copies the host's few programs and just the shared libraries that these load.
make_stripped_host() {
  local program path
  mkdir "$stripped/bin" "$stripped/lib"
  for program in "${host_programs[@]}"; do
    path=$(command -v "$program") || path=$(PATH=/usr/sbin:/usr/bin:/sbin:/bin type -P "$program") || die "the host has no $program"
    case $path in /*) ;; *) path=$(type -P "$program") ;; esac
    cp -L "$path" "$stripped/bin/$program"
    # The third column of ldd's lines, or the first for the loader itself.
    ldd "$path" | awk '$3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }' | while read -r path; do
      cp -Lu "$path" "$stripped/lib/"
    done
  done
}

check_mounts() {
  local foreign
  # Field 4 is the folder mounted, 5 where; the type follows the "-".
  foreign=$(enter "$root" "$cache" "$workspace" -- cat /proc/self/mountinfo | awk -v root="$root/fs" -v cache="$cache" -v workspace="$workspace" '
    { for (i = 7; $i != "-"; i++); type = $(i + 1); where = $5 }
    type ~ /^(proc|sysfs|devtmpfs|devpts|tmpfs|mqueue|hugetlbfs|cgroup|cgroup2|securityfs|debugfs|tracefs|bpf|pstore|configfs|fusectl|binfmt_misc|efivarfs|autofs)$/ { next }
    where ~ "^/(dev|proc|sys)(/|$)" { next }
    where == cache || where == cache "/roots" || where == workspace { next }
    # The end of the path is compared: a mounted folder is named from the start of its file system.
    (where == "/usr" || where == "/etc" || where == "/opt/sysroot") {
      if (length($4) <= length(root where) && substr(root where, length(root where) - length($4) + 1) == $4) next
    }
    { print where " shows " $4 " (" type ")" }')
  [ -z "$foreign" ] || die "the root shows folders of the host: $foreign"
  say "1. no folder of the host is mounted in the root"
}

check_stripped_host() {
  local program
  # The same look-up must find what is there, or finding nothing would mean nothing.
  for program in bwrap "${forbidden[@]}"; do
    if stripped_host /bin/bash -c "PATH=/usr/sbin:/usr/bin:/sbin:/bin; type -P $program" >/dev/null; then
      [ "$program" = bwrap ] || die "the stripped host has $program: the check would show nothing"
    else
      [ "$program" != bwrap ] || die "the stripped host does not work"
    fi
  done
  say "2. a host without compilers, with nothing but: ${host_programs[*]}"
}

# The checksums of all files that a build put out for the target, crates and generated files included. Left out are the
# lists of runfiles, which hold the output base's absolute path.
output_sums() {
  (cd -P "$stripped/$1-bin" && find . -type f ! -name '*.runfiles_manifest' ! -name MANIFEST -exec sha256sum {} + | LC_ALL=C sort -k 2)
}

trap clean_up EXIT
make_stripped_host
check_mounts
check_stripped_host
# The full host goes first because the crates are fetched before a build, which does take the network.
build_by on_full_host full
build_by on_stripped_host bare
say "   built ${targets[*]} on it"
output_sums full >"$stripped/full.sums"
output_sums bare >"$stripped/bare.sums"
[ -s "$stripped/bare.sums" ] || die "the targets have no output files: nothing was compared"
diff "$stripped/full.sums" "$stripped/bare.sums" >&2 || die "the two hosts' builds differ"
say "3. both hosts' builds gave the same $(wc -l <"$stripped/bare.sums") files"
if [ $# = 0 ]; then
  [ "$("$stripped/bare-bin/ci/hermetic/c")" = "built from C" ] || die "the C program does not run on this host"
  [ "$("$stripped/bare-bin/ci/hermetic/rust")" = "built from Rust" ] || die "the Rust program does not run on this host"
  say "4. the programs built there run on this host"
fi
