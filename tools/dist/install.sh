#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs the product below a prefix. Usage: tools/bazel run //dist:install -- [--prefix FOLDER]
# The first argument, the tarball, comes from Bazel; the prefix is ~/.local unless it is named.
set -euo pipefail

tarball=$1
shift
prefix=${HOME:-}/.local
while [ $# -gt 0 ]; do
  case $1 in
    --prefix=*) prefix=${1#--prefix=} ;;
    --prefix)
      [ $# -gt 1 ] || { echo "install: --prefix needs a folder" >&2 && exit 2; }
      prefix=$2
      shift
      ;;
    *)
      echo "usage: tools/bazel run //dist:install -- [--prefix FOLDER]" >&2
      exit 2
      ;;
  esac
  shift
done

[ "$prefix" != /.local ] || { echo "install: HOME is not set; name a folder with --prefix" >&2 && exit 2; }

# Bazel has changed the folder and names the one in which the command was typed.
case $prefix in
  /*) ;;
  *) prefix=${BUILD_WORKING_DIRECTORY:-$PWD}/$prefix ;;
esac

mkdir -p "$prefix"
# tar puts a new file in the place of an old one, so a host that runs keeps the file that it was started from.
tar --extract --gzip --file "$tarball" --directory "$prefix" --strip-components=1 --no-same-owner \
  --exclude='*/SHA256SUMS'
echo "installed $("$prefix/bin/code_mode" --version) below $prefix"
case :$PATH: in
  *:"$prefix/bin":*) ;;
  *) echo "put it into PATH: export PATH=\"$prefix/bin:\$PATH\"" ;;
esac
