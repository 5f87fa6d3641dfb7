#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs the product below a fresh prefix, twice, and runs the example there. Usage: install_test.sh INSTALL TARBALL
set -euo pipefail
install=$1
tarball=$2
prefix=$TEST_TMPDIR/prefix

for _ in first again; do
  said=$("$install" "$tarball" --prefix "$prefix")
  [[ $said == 'installed code_mode '* ]] || { echo "it said: $said" && exit 1; }
done
[ ! -e "$prefix/SHA256SUMS" ] || { echo 'the checksums of the tarball are not for a prefix' && exit 1; }

said=$(PATH=$prefix/bin code_mode run "$prefix/share/code_mode/examples/hello/hello.js" you \
  --tools "$prefix/share/code_mode/examples/hello/tools.json")
[ "$said" = 'HELLO YOU' ] || { echo "the example said: $said" && exit 1; }

# A relative prefix starts where the command was typed, which Bazel names.
mkdir "$TEST_TMPDIR/typed"
BUILD_WORKING_DIRECTORY=$TEST_TMPDIR/typed "$install" "$tarball" --prefix=here >/dev/null
[ -x "$TEST_TMPDIR/typed/here/bin/code_mode_host" ] || { echo 'a relative prefix is lost' && exit 1; }

if "$install" "$tarball" --frobnicate 2>"$TEST_TMPDIR/usage"; then
  echo 'an unknown option was taken' && exit 1
fi
grep -q '^usage: ' "$TEST_TMPDIR/usage"
