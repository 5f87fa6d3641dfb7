# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Reads tools/versions.bzl, for scripts that run outside Bazel.

versions_file=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)/versions.bzl

# Prints what NAME has there. Usage: version_of NAME. Fails, with a word on it, when there is no such name.
version_of() {
  local line
  line=$(grep -E "^$1 = \"[^\"]*\"\$" "$versions_file") || {
    printf 'code_mode: tools/versions.bzl has no %s\n' "$1" >&2
    return 1
  }
  line=${line#*\"}
  printf '%s\n' "${line%\"}"
}
