#!/bin/sh
# Called by mmdebstrap after it has unpacked the packages: writes "suite name version sha256" for each of them.
# Usage: record.sh SUITE ROOT MANIFEST. apt has checked the files against the archive's signature; the sums here are
# taken from the files themselves. A file is called NAME_VERSION_ARCH.deb, with the version's colon written as %3a.
set -eu
cd "$2/var/cache/apt/archives"
sha256sum ./*.deb | sed -E "s|^([0-9a-f]{64}) +\./([^_]+)_([^_]+)_[^_]+\.deb\$|$1 \2 \3 \1|; s/%3a/:/g" >"$3"
