#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Fails when a program needs a newer glibc than the machines it is for have.
# Usage: glibc_test.sh PROGRAM MAXIMUM   for example: glibc_test.sh host/code_mode_host 2.36
set -euo pipefail
program=$1
maximum=$2

needed=$(/usr/bin/llvm-readelf-22 --version-info "$program" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV)
if [ -z "$needed" ]; then
  echo "$program names no GLIBC version at all: is it a dynamically linked program?"
  exit 1
fi
highest=$(tail -n 1 <<<"$needed")
echo "$program needs glibc $highest, at most $maximum is allowed"
[ "$(printf '%s\n' "$highest" "$maximum" | sort -V | tail -n 1)" = "$maximum" ] || {
  echo "Something was linked against headers or a library outside the sysroot; the symbols are:"
  /usr/bin/llvm-readelf-22 --dyn-syms "$program" | grep "GLIBC_$highest" || true
  exit 1
}
