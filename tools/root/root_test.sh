#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tests of the build root's scripts, without network and without a real root: a stand-in maker (CODE_MODE_ROOT_MAKER)
# makes the folders. Runs as it is and as a Bazel test. Each test is a function named test_...; it runs in a subshell
# with an empty folder of its own as working folder, and fails when a command in it fails.
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
  unset CODE_MODE_STRICT_ROOT
  printf '# A comment.\nbookworm libc6 2.36-9 aaaa\nforky clang-22 1:22.1-1 bbbb\n' >packages.lock
  printf 'bookworm libc6 2.36-9 aaaa\nforky clang-22 1:22.1-1 bbbb\n' >unpacked
  cat >maker <<'MAKER'
#!/bin/bash
set -eu
cd "$(dirname "$0")"
echo "$2" >>makers
mkdir "$1/fs"
cp unpacked "$1/manifest"
MAKER
  chmod +x maker
  # shellcheck source=tools/root/lib.sh
  . "$scripts/lib.sh"
  cache=$(cache_folder)
}

test_a_manifest_equal_to_the_lock_has_no_differences() {
  set_up
  equal "" "$(lock_differences packages.lock unpacked)"
}

test_each_difference_names_package_locked_version_and_version_got() {
  set_up
  printf 'bookworm libc6 2.36-10 cccc\nforky clang-22 1:22.1-1 dddd\nforky zip 3.0-1 eeee\n' >unpacked
  printf 'forky gone 1 ffff\n' >>packages.lock
  equal "bookworm libc6: locked 2.36-9, got 2.36-10
forky clang-22: locked 1:22.1-1 sha256 bbbb, got sha256 dddd
forky gone: locked 1, got nothing
forky zip: locked nothing, got 3.0-1" "$(lock_differences packages.lock unpacked)"
}

test_one_package_in_two_suites_is_two_entries() {
  set_up
  printf 'forky libc6 2.43-1 cccc\n' | tee -a packages.lock >>unpacked
  equal "" "$(lock_differences packages.lock unpacked)"
}

test_a_malformed_lock_line_is_an_error_that_names_it() {
  set_up
  printf 'forky clang-22\n' >>packages.lock
  local said
  said=$(lock_differences packages.lock unpacked 2>&1 >/dev/null) && fail "a malformed line was accepted"
  contains "$said" "packages.lock: line 4"
}

test_the_root_is_made_once_and_found_again() {
  set_up
  local first second
  first=$(ensure_root "$cache") || fail "no root"
  second=$(ensure_root "$cache") || fail "no root the second time"
  equal "$first" "$second"
  equal "$cache/roots/$(root_key)" "$first"
  equal "locked" "$(cat makers)"
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

test_a_root_that_departs_from_the_lock_is_a_warning_that_names_the_packages() {
  set_up
  sed -i 's/2.36-9/2.36-10/' unpacked
  local folder
  folder=$(ensure_root "$cache" 2>said) || fail "a difference is no error"
  contains "$(cat said)" "libc6: locked 2.36-9, got 2.36-10"
  contains "$(cat said)" "tools/root/relock"
  ensure_root "$cache" >found 2>said || fail "a difference is no error later"
  equal "$folder" "$(cat found)"
  contains "$(cat said)" "differences: 1"
}

test_strict_mode_makes_a_difference_an_error_each_time() {
  set_up
  export CODE_MODE_STRICT_ROOT=1
  sed -i 's/2.36-9/2.36-10/' unpacked
  local attempt
  for attempt in first second; do
    ensure_root "$cache" >/dev/null 2>said && fail "strict mode accepted a difference at the $attempt attempt"
    contains "$(cat said)" "libc6: locked 2.36-9, got 2.36-10"
    contains "$(cat said)" "CODE_MODE_STRICT_ROOT=1"
  done
}

test_strict_mode_accepts_the_locked_root() {
  set_up
  export CODE_MODE_STRICT_ROOT=1
  ensure_root "$cache" >/dev/null || fail "refused"
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
  equal "locked" "$(cat makers)"
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
  equal "$(cat unpacked)" "$(grep -v '^#' packages.lock)"
  equal "unlocked" "$(cat makers)"
  ensure_root "$cache" >/dev/null 2>said || fail "no root"
  equal "" "$(cat said)"
  equal "unlocked" "$(cat makers)"
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

test_file_names_of_packages_become_manifest_lines() {
  mkdir -p root/var/cache/apt/archives
  printf x >root/var/cache/apt/archives/clang-22_1%3a22.1-1+b2_amd64.deb
  printf y >root/var/cache/apt/archives/libstdc++6_16.1-2~1_all.deb
  sh "$scripts/record.sh" forky root "$PWD/manifest" || fail "record.sh failed"
  equal "forky clang-22 1:22.1-1+b2 $(printf x | sha256sum | cut -c1-64)
forky libstdc++6 16.1-2~1 $(printf y | sha256sum | cut -c1-64)" "$(cat manifest)"
}

test_the_lock_in_the_repository_is_well_formed_and_names_every_package_asked_for() {
  # shellcheck source=tools/root/lib.sh
  . "$scripts/lib.sh"
  local lock=$scripts/packages.lock suite list package
  grep -v '^#' "$lock" | grep -Ev '^(bookworm|forky) [a-z0-9][a-z0-9+.-]+ [^ ]+ [0-9a-f]{64}$' && fail "lines above are malformed"
  grep -v '^#' "$lock" | LC_ALL=C sort -c || fail "the lock is not sorted"
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
  contains "$(cat said)" "sudo apt-get install -y mmdebstrap bubblewrap"
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
