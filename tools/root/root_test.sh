#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tests of the build root's scripts, without network and without a real root: a stand-in maker (CODE_MODE_ROOT_MAKER)
# makes the folders, and stand-ins of apt's and dpkg's programs serve the packages. Runs as it is and as a Bazel test.
# Each test is a function named test_...; it runs in a subshell with an empty folder of its own as working folder, and fails when a command in it fails.
set -uo pipefail

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
tools=$(cd "$scripts/.." && pwd -P)

fail() {
  printf '  %s\n' "$*" >&2
  exit 1
}

equal() { [ "$1" = "$2" ] || fail "expected: $1"$'\n'"  got:      $2"; }

contains() { case $1 in *"$2"*) ;; *) fail "expected \"$2\" in: $1" ;; esac }

# The scripts under test, with a lock of two packages and a maker that unpacks just these.
set_up() {
  export XDG_CACHE_HOME=$PWD/cache CODE_MODE_ROOT_LOCK=$PWD/packages.lock CODE_MODE_ROOT_MAKER=$PWD/maker
  export CODE_MODE_ROOT_RESOLVER=$PWD/resolver
  unset CODE_MODE_ROOT CODE_MODE_ROOT_IMAGE CODE_MODE_ROOT_MIRROR CODE_MODE_ROOT_SNAPSHOT
  printf '# A comment.\narchive 20260101T000000Z\nbookworm libc6 2.36-9 aaaa c/libc6.deb\nforky clang-22 1:22.1-1 bbbb l/clang.deb\n' >packages.lock
  printf 'bookworm libc6 2.36-9 aaaa\nforky clang-22 1:22.1-1 bbbb\n' >unpacked
  cat >maker <<'MAKER'
#!/bin/bash
set -eu
cd "$(dirname "$0")"
echo "${3##*/}" >>makers
mkdir "$1/fs"
cp unpacked "$1/manifest"
MAKER
  cat >resolver <<'RESOLVER'
#!/bin/bash
cd "$(dirname "$0")"
echo 'archive 20260202T000000Z'
sed 's/$/ pool\/x.deb/' unpacked
RESOLVER
  chmod +x maker resolver
  # A machine that is an image runs these tests too.
  export CODE_MODE_ROOT_IMAGE_FOLDER=$PWD/no-image
  # shellcheck source=tools/root/lib.sh
  . "$scripts/lib.sh"
  cache=$(cache_folder)
}

# A lock of packages that are served from folders in the place of the archive, its snapshot and a mirror: "files" holds
# each package as its path in the archive. The real maker runs, over stand-ins for what it calls of apt and dpkg.
# shellcheck disable=SC2016 # The stand-ins are to expand it.
set_up_packages() {
  set_up
  unset CODE_MODE_ROOT_MAKER
  mkdir bin archive
  # The archive of "this machine's apt".
  printf '#!/bin/sh\n[ "$1" = indextargets ] && echo "file://%s/archive/debian"\n' "$PWD" >bin/apt-get
  # apt-helper [-o OPTION]... download-file URI FILE SUM...: as the real one, it fetches what it can and fails for the rest.
  cat >bin/apt-helper <<'HELPER'
#!/bin/bash
while [ "$1" = -o ]; do shift 2; done
[ "$1" = download-file ] || exit 2
shift
status=0
while [ $# -gt 0 ]; do
  path=${1#file://}
  path=${path//%2b/+}
  echo "$path" >>"$ASKED"
  if [ ! -f "$path" ]; then
    printf 'Err:1 %s\n  404  Not Found\n' "$1"
    status=100
  else
    ln -s "$path" "$2"
  fi
  shift 3
done
exit $status
HELPER
  # A package is a plain tar archive here.
  printf '#!/bin/sh\n[ "$1" = --fsys-tarfile ] && cat "$2"\n' >bin/dpkg-deb
  # zstd ... -o FILE packs, zstd ... FILE unpacks; nothing is packed here.
  printf '#!/bin/bash\n[ "${*: -2:1}" = -o ] && exec cat >"${@: -1}"\ncat "${@: -1}"\n' >bin/zstd
  printf '#!/bin/sh\nexit 0\n' >bin/bwrap
  chmod +x bin/*
  export PATH=$PWD/bin:$PATH ASKED=$PWD/asked
  export CODE_MODE_ROOT_SNAPSHOT=$PWD/snapshot
  : >asked
  echo 'archive 20260101T000000Z' >packages.lock
  add_package bookworm libc6 2.36-9 lib/libc.so.6 usr/lib/libm.so
  add_package forky base-files 14 usr/lib/os-release etc/bazel/bazelrc usr/bin/mawk
  add_package forky libstdc++6 16.1 usr/lib/libstdc++.so.6 usr/share/man/x.3 usr/share/doc/x/README usr/share/doc/x/copyright
}

# Usage: add_package SUITE NAME VERSION FILE...  Makes a package with these files and names it in the lock.
add_package() {
  local suite=$1 name=$2 version=$3 file sum path=pool/main/$2_$3.deb
  mkdir -p "archive/debian/${path%/*}" package
  for file in "${@:4}"; do
    mkdir -p "package/${file%/*}"
    echo "$name" >"package/$file"
  done
  tar --create --directory=package --file="archive/debian/$path" .
  rm -r package
  sum=$(sha256sum "archive/debian/$path" | cut -d' ' -f1)
  printf '%s %s %s %s %s\n' "$suite" "$name" "$version" "$sum" "$path" >>packages.lock
}

test_a_manifest_equal_to_the_lock_has_no_differences() {
  set_up
  equal "" "$(lock_differences packages.lock unpacked)"
}

test_each_difference_names_package_locked_version_and_version_got() {
  set_up
  printf 'bookworm libc6 2.36-10 cccc\nforky clang-22 1:22.1-1 dddd\nforky zip 3.0-1 eeee\n' >unpacked
  printf 'forky gone 1 ffff g/gone.deb\n' >>packages.lock
  equal "bookworm libc6: locked 2.36-9, got 2.36-10
forky clang-22: locked 1:22.1-1 sha256 bbbb, got sha256 dddd
forky gone: locked 1, got nothing
forky zip: locked nothing, got 3.0-1" "$(lock_differences packages.lock unpacked)"
}

test_the_versions_are_those_of_the_packages() {
  # shellcheck source=tools/versions.sh
  . "$scripts/../versions.sh"
  local llvm
  llvm=$(version_of LLVM)
  equal "clang-$llvm libclang-rt-$llvm-dev libclang1-$llvm lld-$llvm llvm-$llvm" \
    "$(grep -E '^(libclang|clang|lld|llvm)' "$scripts/packages.txt" | LC_ALL=C sort | xargs)"
  grep -q " libgcc-$(version_of SYSROOT_GCC)-dev " "$scripts/packages.lock" || fail "the sysroot has another gcc"
}

test_a_version_that_is_not_there_is_named() {
  # shellcheck source=tools/versions.sh
  . "$scripts/../versions.sh"
  version_of NONE 2>said && fail "found one"
  contains "$(cat said)" "has no NONE"
}

test_one_package_in_two_suites_is_two_entries() {
  set_up
  printf 'forky libc6 2.43-1 cccc\n' >>unpacked
  printf 'forky libc6 2.43-1 cccc c/libc6.deb\n' >>packages.lock
  equal "" "$(lock_differences packages.lock unpacked)"
}

test_a_malformed_lock_line_is_an_error_that_names_it() {
  set_up
  printf 'forky clang-22\n' >>packages.lock
  local said
  said=$(lock_differences packages.lock unpacked 2>&1 >/dev/null) && fail "a malformed line was accepted"
  contains "$said" "packages.lock: line 5"
}

test_the_root_is_made_once_and_found_again() {
  set_up
  local first second
  first=$(ensure_root "$cache") || fail "no root"
  second=$(ensure_root "$cache") || fail "no root the second time"
  equal "$first" "$second"
  equal "$cache/roots/$(root_key)" "$first"
  equal "packages.lock" "$(cat makers)"
  [ -d "$first/fs" ] || fail "the root has no fs folder"
}

test_another_lock_has_another_root() {
  set_up
  local first second
  first=$(ensure_root "$cache") || fail "no root"
  sed -i 's/aaaa/abab/' packages.lock unpacked
  second=$(ensure_root "$cache") || fail "no root"
  [ "$first" != "$second" ] || fail "two locks share the root $first"
}

test_a_root_that_departs_from_the_lock_is_refused_with_the_packages_named() {
  set_up
  sed -i 's/2.36-9/2.36-10/' unpacked
  ensure_root "$cache" >/dev/null 2>said && fail "another root than the locked one was accepted"
  contains "$(cat said)" "libc6: locked 2.36-9, got 2.36-10"
  equal "lock" "$(ls -A "$cache/roots")"
}

test_the_newest_packages_make_a_root_of_their_own_with_a_warning_that_names_them() {
  set_up
  local locked folder
  locked=$(ensure_root "$cache") || fail "no root"
  sed -i 's/2.36-9/2.36-10/' unpacked
  export CODE_MODE_ROOT=newest
  folder=$(ensure_root "$cache" 2>said) || fail "no newest root"
  equal "$locked-newest" "$folder"
  contains "$(cat said)" "libc6: locked 2.36-9, got 2.36-10"
  ensure_root "$cache" >found 2>said || fail "not found again"
  equal "$folder" "$(cat found)"
  contains "$(cat said)" "differences: 1"
  unset CODE_MODE_ROOT
  equal "$locked" "$(ensure_root "$cache" 2>said)"
  equal "" "$(cat said)"
}

test_a_word_that_names_no_kind_of_root_is_an_error() {
  set_up
  CODE_MODE_ROOT=oldest ensure_root "$cache" >/dev/null 2>said && fail "accepted"
  contains "$(cat said)" "CODE_MODE_ROOT=oldest"
}

test_every_script_that_shapes_a_root_is_part_of_its_key() {
  set_up
  mkdir copies
  # A Bazel test's files are links to some that it must not change.
  cp --dereference --no-preserve=mode "$scripts"/*.sh "$scripts"/*.txt copies
  local key file
  # shellcheck disable=SC1091 # A copy of lib.sh.
  key_of_copies() (. copies/lib.sh && root_key)
  key=$(key_of_copies)
  for file in packages.txt sysroot.txt unneeded.txt lib.sh make.sh debs.sh; do
    echo '# Another line.' >>"copies/$file"
    [ "$key" != "$(key_of_copies)" ] || fail "the key does not depend on $file"
    key=$(key_of_copies)
  done
}

test_the_maker_puts_a_root_together_and_leaves_out_what_is_unneeded() {
  set_up_packages
  local folder
  folder=$(ensure_root "$cache" 2>said) || fail "no root: $(cat said)"
  equal "$(grep -v '^archive' packages.lock | cut -d' ' -f1-4)" "$(cat "$folder/manifest")"
  equal "libc6" "$(cat "$folder/fs/opt/sysroot/lib/libc.so.6")"
  equal "libstdc++6" "$(cat "$folder/fs/usr/lib/libstdc++.so.6")"
  equal "libstdc++6" "$(cat "$folder/fs/usr/share/doc/x/copyright")"
  [ ! -e "$folder/fs/usr/share/man" ] || fail "manuals are there"
  [ ! -e "$folder/fs/usr/share/doc/x/README" ] || fail "documents are there"
  equal "root:x:0:0:root:/:/bin/sh" "$(cat "$folder/fs/etc/passwd")"
  [ ! -e "$folder/fs/etc/hostname" ] || fail "the machine's name is in the root"
}

test_packages_come_from_the_cache_without_asking_anybody() {
  set_up_packages
  local folder
  folder=$(ensure_root "$cache" 2>said) || fail "no root: $(cat said)"
  rm -r "$folder" archive
  : >asked
  ensure_root "$cache" >/dev/null 2>said || fail "no root from the cache: $(cat said)"
  equal "" "$(cat asked)"
}

test_a_damaged_package_in_the_cache_is_fetched_again() {
  set_up_packages
  local folder sum
  folder=$(ensure_root "$cache" 2>said) || fail "no root: $(cat said)"
  rm -r "$folder"
  sum=$(awk '$2 == "libc6" { print $4 }' packages.lock)
  echo damage >>"$cache/debs/$sum.deb"
  : >asked
  ensure_root "$cache" >/dev/null 2>said || fail "no root: $(cat said)"
  equal "$PWD/archive/debian/pool/main/libc6_2.36-9.deb" "$(cat asked)"
  contains "$(cat said)" "damaged"
}

test_sources_are_asked_in_order_and_each_only_for_what_is_still_missing() {
  set_up_packages
  # The mirror has one package, the archive another one, and its snapshot of the lock's time the last.
  mkdir -p mirror/pool/main snapshot/20260101T000000Z/pool/main
  mv archive/debian/pool/main/libc6_* mirror/pool/main
  mv archive/debian/pool/main/libstdc++6_* snapshot/20260101T000000Z/pool/main
  CODE_MODE_ROOT_MIRROR=$PWD/mirror ensure_root "$cache" >/dev/null 2>said || fail "no root: $(cat said)"
  equal "mirror/pool/main/libc6_2.36-9.deb
mirror/pool/main/base-files_14.deb
mirror/pool/main/libstdc++6_16.1.deb
archive/debian/pool/main/base-files_14.deb
archive/debian/pool/main/libstdc++6_16.1.deb
snapshot/20260101T000000Z/pool/main/libstdc++6_16.1.deb" "$(sed "s|^$PWD/||" asked)"
}

test_a_source_that_gives_other_bytes_is_passed_over() {
  set_up_packages
  mkdir -p mirror/pool/main
  echo forged >mirror/pool/main/libc6_2.36-9.deb
  local folder
  folder=$(CODE_MODE_ROOT_MIRROR=$PWD/mirror ensure_root "$cache" 2>said) || fail "no root: $(cat said)"
  equal "libc6" "$(cat "$folder/fs/opt/sysroot/lib/libc.so.6")"
}

test_packages_that_nobody_has_are_named_with_the_ways_on() {
  set_up_packages
  rm archive/debian/pool/main/libc6_*
  ensure_root "$cache" >/dev/null 2>said && fail "a package is missing and a root was made"
  contains "$(cat said)" "bookworm libc6 2.36-9"
  contains "$(cat said)" "$PWD/snapshot/20260101T000000Z"
  local way
  for way in CODE_MODE_ROOT_IMAGE= CODE_MODE_ROOT_MIRROR= CODE_MODE_ROOT=newest; do contains "$(cat said)" "$way"; done
  equal "lock" "$(ls -A "$cache/roots")"
  # What was found stays.
  equal 2 "$(find "$cache/debs" -name '*.deb' | wc -l)"
}

test_two_makings_of_one_lock_give_the_same_files_modes_and_times() {
  set_up_packages
  local folder
  listing() { (cd "$1/fs" && find . -printf '%p %y %m %s %T@ %l\n' | LC_ALL=C sort); }
  folder=$(ensure_root "$cache" 2>said) || fail "no root: $(cat said)"
  listing "$folder" >first
  rm -r "$folder"
  (umask 077 && ensure_root "$cache" >/dev/null 2>said) || fail "no root: $(cat said)"
  listing "$folder" | diff first - || fail "the second root is another one"
}

test_an_image_makes_the_same_root_on_a_machine_without_packages_and_archive() {
  set_up_packages
  local folder image again
  folder=$(ensure_root "$cache" 2>said) || fail "no root: $(cat said)"
  mkdir images
  image=$("$scripts/image" images 2>said) || fail "no image: $(cat said)"
  equal "$image" "$PWD/images/root-$(sha256sum "$image" | cut -d' ' -f1).tar.zst"
  equal "$image" "$("$scripts/image" images 2>said)"
  (cd "$folder/fs" && find . -printf '%p %y %m %s %T@ %l\n' | LC_ALL=C sort) >first
  rm -r "$folder" "$cache/debs" archive
  again=$(CODE_MODE_ROOT_IMAGE=$image ensure_root "$cache" 2>said) || fail "the image was not taken: $(cat said)"
  equal "$folder" "$again"
  (cd "$folder/fs" && find . -printf '%p %y %m %s %T@ %l\n' | LC_ALL=C sort) | diff first - || fail "another root"
  equal "$(grep -v '^archive' packages.lock | cut -d' ' -f1-4)" "$(cat "$folder/manifest")"
}

test_an_image_that_was_changed_or_is_of_another_root_is_refused() {
  set_up_packages
  local folder image
  folder=$(ensure_root "$cache" 2>said) || fail "no root: $(cat said)"
  image=$("$scripts/image" . 2>said) || fail "no image: $(cat said)"
  rm -r "$folder"
  mkdir changed
  { cat "$image" && echo more; } >"changed/${image##*/}"
  CODE_MODE_ROOT_IMAGE=$PWD/changed/${image##*/} ensure_root "$cache" >/dev/null 2>said && fail "a changed image was taken"
  contains "$(cat said)" "checksum"
  add_package forky another 1 usr/bin/another
  CODE_MODE_ROOT_IMAGE=$image ensure_root "$cache" >/dev/null 2>said && fail "another root's image was taken"
  contains "$(cat said)" "the workspace wants $(root_key)"
  equal "lock" "$(ls -A "$cache/roots")"
}

test_a_machine_that_is_the_image_is_its_own_root_and_enters_without_bubblewrap() {
  set_up
  # shellcheck source=tools/root/enter.sh
  . "$scripts/enter.sh"
  image_folder=$PWD/machine
  mkdir machine bin
  root_key >machine/key
  printf '#!/bin/sh\necho bubblewrap was called\nexit 1\n' >bin/bwrap
  chmod +x bin/bwrap
  export PATH=$PWD/bin:$PATH FROM_OUTSIDE=1
  equal "$PWD/machine" "$(ensure_root "$cache")"
  # shellcheck disable=SC2016 # The command is to expand it.
  equal "$cache/home stamp  ${PWD}" \
    "$(enter "$PWD/machine" "$cache" "$PWD" --ro-bind /a /b --setenv STAMP stamp -- sh -c 'echo "$HOME $STAMP $FROM_OUTSIDE $PWD"')"
  echo another >machine/key
  ensure_root "$cache" >/dev/null 2>said && fail "the image of another root was accepted"
  contains "$(cat said)" "the workspace wants $(root_key)"
}

test_a_root_unused_for_long_is_deleted_with_the_next_making_unless_it_is_new_or_entered() {
  set_up
  local old
  for old in unused used entered; do
    mkdir -p "$cache/roots/$old/fs"
    touch --date='40 days ago' "$cache/roots/$old/used" "$cache/roots/$old"
  done
  touch "$cache/roots/used/used"
  eval "$(declare -f root_is_entered | sed '1s/.*/really_entered()/')"
  # shellcheck disable=SC2329 # collect_roots calls it.
  root_is_entered() { [ "${1##*/}" = entered ] || really_entered "$1"; }
  ensure_root "$cache" >/dev/null 2>said || fail "no root: $(cat said)"
  equal "$(printf '%s\n' "$(root_key)" entered lock used | LC_ALL=C sort)" "$(find "$cache/roots" -mindepth 1 -maxdepth 1 -printf '%f\n' | LC_ALL=C sort)"
}

test_packages_of_no_root_unused_for_long_are_deleted_with_the_next_making() {
  set_up
  touch --date='100 days ago' "$cache/debs/aaaa.deb" "$cache/debs/stray.deb"
  touch "$cache/debs/recent.deb"
  ensure_root "$cache" >/dev/null 2>said || fail "no root: $(cat said)"
  equal "aaaa.deb recent.deb" "$(find "$cache/debs" -type f -printf '%f\n' | LC_ALL=C sort | paste -sd' ')"
}

test_a_failed_making_leaves_nothing_and_the_next_one_succeeds() {
  set_up
  sed -i 's/^cp /exit 1; cp /' maker
  ensure_root "$cache" >/dev/null 2>said && fail "the failure was not noticed"
  contains "$(cat said)" "could not be made"
  equal "lock" "$(ls -A "$cache/roots")"
  sed -i 's/^exit 1; //' maker
  ensure_root "$cache" >/dev/null || fail "the second attempt failed"
}

test_what_an_interrupted_making_left_is_cleaned_up() {
  set_up
  mkdir -p "$cache/roots/.new-killed/fs"
  ensure_root "$cache" >/dev/null || fail "no root"
  [ ! -e "$cache/roots/.new-killed" ] || fail "the half-made root is still there"
}

test_of_two_concurrent_first_runs_one_makes_the_root_and_the_other_says_that_it_waits() {
  set_up
  # The maker says that it has begun and goes on only when told to: so the second run surely meets it at work.
  mkfifo begun go
  sed -i 's/^mkdir/echo >begun; cat go >>\/dev\/null; mkdir/' maker
  ensure_root "$cache" >first &
  local maker=$!
  read -r -t 60 <begun || fail "the first run did not begin"
  mkfifo second_says
  ensure_root "$cache" >second 2>second_says &
  local waiter=$! line
  read -r -t 60 line <second_says || fail "the second run said nothing"
  contains "$line" "waiting for it"
  [ ! -s second ] || fail "the second run did not wait"
  echo >go
  wait "$maker" || fail "the first run failed"
  wait "$waiter" || fail "the second run failed"
  equal "$(cat first)" "$(cat second)"
  equal "packages.lock" "$(cat makers)"
}

test_a_killed_run_keeps_others_out_for_as_long_as_its_maker_writes() {
  set_up
  mkfifo begun go
  # shellcheck disable=SC2016 # The maker is to expand it.
  sed -i 's/^mkdir/echo $PPID >begun; cat go >>\/dev\/null; mkdir/' maker
  (ensure_root "$cache" >/dev/null) &
  local run=$! shell
  read -r -t 60 shell <begun || fail "the run did not begin"
  # All shells from the maker's parent up to the run, so that the maker alone is left.
  local shells=()
  while [ "$shell" != "$run" ]; do
    shells+=("$shell")
    shell=$(sed -n 's/^PPid:\t//p' "/proc/$shell/status")
  done
  kill -KILL "$run" "${shells[@]}"
  wait "$run" 2>/dev/null
  flock --nonblock "$cache/roots/lock" true && fail "the lock is free although the maker is at work"
  echo >go
  flock --timeout 60 "$cache/roots/lock" true || fail "the lock is not given back"
  [ ! -e "$cache/roots/$(root_key)" ] || fail "the killed run has made a root"
}

test_relock_writes_what_was_unpacked_and_its_root_is_the_one_found_then() {
  set_up
  sed -i 's/2.36-9/2.36-10/' unpacked
  "$scripts/relock" 2>said || fail "relock failed: $(cat said)"
  contains "$(cat said)" "libc6: locked 2.36-9, got 2.36-10"
  equal "archive 20260202T000000Z
$(sed 's/$/ pool\/x.deb/' unpacked)" "$(cat packages.lock)"
  equal "packages.lock.new" "$(cat makers)"
  ensure_root "$cache" >/dev/null 2>said || fail "no root"
  equal "" "$(cat said)"
  equal "packages.lock.new" "$(cat makers)"
}

test_the_toolchain_key_follows_compilers_and_sysroot_only() {
  set_up
  local key
  key=$(toolchain_key unpacked)
  printf 'forky zip 3.0-1 eeee\n' >>unpacked
  equal "$key" "$(toolchain_key unpacked)"
  local package
  for package in clang-22 libc6; do
    sed "s/$package [^ ]*/$package 99/" unpacked >changed
    [ "$key" != "$(toolchain_key changed)" ] || fail "the key does not depend on $package"
  done
}

test_the_newest_lock_has_sums_and_files_from_the_index_and_the_later_release() {
  set_up
  mkdir bin
  # apt-get with a state of its own: -o Dir::State=FOLDER/SUITE comes first.
  cat >bin/apt-get <<'APT'
#!/bin/bash
state=${2#Dir::State=}
suite=${state##*/}
while [ "$1" = -o ]; do shift 2; done
case $1 in
  update) echo "Date: Fri, 0$([ "$suite" = forky ] && echo 2 || echo 1) Jan 2026 08:00:00 UTC" >"$state/lists/x_InRelease" ;;
  install) echo "'http://x/$suite%2b1.deb' pkg-${suite}++_2%3a1.0_amd64.deb 10 MD5Sum:0" ;;
  indextargets) echo "$suite" ;;
esac
APT
  cat >bin/apt-helper <<'HELPER'
#!/bin/bash
printf 'Package: pkg-%s++\nVersion: %s\nFilename: pool/%s\nSHA256: %s\n\n' "$2" 0.9 old old "$2" 2:1.0 "$2.deb" "sum-$2"
HELPER
  chmod +x bin/*
  export CODE_MODE_ROOT_MIRROR=http://x
  PATH=$PWD/bin:$PATH "$scripts/newest.sh" >newest 2>said || fail "newest.sh failed: $(cat said)"
  equal "archive 20260102T080000Z
bookworm pkg-bookworm++ 2:1.0 sum-bookworm pool/bookworm.deb
forky pkg-forky++ 2:1.0 sum-forky pool/forky.deb" "$(grep -v '^#' newest)"
}

test_the_lock_in_the_repository_is_well_formed_and_names_every_package_asked_for() {
  # shellcheck source=tools/root/lib.sh
  . "$scripts/lib.sh"
  local lock=$scripts/packages.lock suite list package
  equal 1 "$(grep -cE '^archive [0-9]{8}T[0-9]{6}Z$' "$lock")"
  grep -Ev '^(#|archive )' "$lock" | grep -Ev '^(bookworm|forky) [a-z0-9][a-z0-9+.-]+ [^ ]+ [0-9a-f]{64} pool/[^ ]+[.]deb$' && fail "lines above are malformed"
  grep -Ev '^(#|archive )' "$lock" | LC_ALL=C sort -c || fail "the lock is not sorted"
  for suite in bookworm:sysroot forky:packages; do
    list=$scripts/${suite#*:}.txt
    while read -r package; do
      grep -q "^${suite%:*} $package " "$lock" || fail "$package of $list is not in the lock"
    done < <(grep -Ev '^(#|$)' "$list")
  done
}

test_the_launcher_hands_over_to_the_nearest_workspace_above() {
  mkdir -p outer/tools outer/inner/tools outer/inner/deep/er outer/other bin
  printf '#!/bin/sh\necho outer "$@"\n' >outer/tools/bazel
  printf '#!/bin/sh\necho inner "$@"\n' >outer/inner/tools/bazel
  chmod +x outer/tools/bazel outer/inner/tools/bazel
  PATH=$PWD/bin:$PATH "$tools/install-bazel-launcher" "$PWD/bin" >said || fail "not installed"
  equal "installed $PWD/bin/bazel" "$(cat said)"
  local launcher=$PWD/bin/bazel
  equal "inner build //x:y a b" "$(cd outer/inner/deep/er && "$launcher" build //x:y "a b")"
  equal "outer test" "$(cd outer/other && "$launcher" test)"
  (cd bin && "$launcher" test 2>../said) && fail "a workspace was found where none is"
  contains "$(cat said)" "tools/bazel"
}

test_the_launcher_replaces_itself_but_no_foreign_bazel() {
  mkdir bin
  "$tools/install-bazel-launcher" "$PWD/bin" >said || fail "not installed"
  contains "$(cat said)" "not on your PATH"
  "$tools/install-bazel-launcher" "$PWD/bin" >/dev/null || fail "did not replace itself"
  printf 'foreign\n' >bin/bazel
  "$tools/install-bazel-launcher" "$PWD/bin" 2>said && fail "a foreign bazel was replaced"
  contains "$(cat said)" "--force"
  equal "foreign" "$(cat bin/bazel)"
  "$tools/install-bazel-launcher" --force "$PWD/bin" >/dev/null || fail "--force did not help"
  [ "$(cat bin/bazel)" != foreign ] || fail "--force replaced nothing"
}

test_a_missing_program_is_named_with_the_command_to_run() {
  set_up
  # An ordinary user's view, whoever runs this test.
  id() { echo 1000; }
  (require_programs no-such-program) 2>said && fail "nothing was missed"
  contains "$(cat said)" "no-such-program missing"
  contains "$(cat said)" "sudo apt-get install -y bubblewrap"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0 failed=0
for name in $(declare -F | sed -n 's/^declare -f \(test_.*\)/\1/p'); do
  mkdir "$scratch/$name"
  if (cd "$scratch/$name" && "$name"); then
    printf 'ok      %s\n' "$name"
    passed=$((passed + 1))
  else
    printf 'FAILED  %s\n' "$name"
    failed=$((failed + 1))
  fi
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
