#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs shellcheck over the scripts named as arguments, paths from the workspace's root.
set -euo pipefail
[ $# -gt 0 ] || { echo "no scripts given" >&2 && exit 2; }
shellcheck --external-sources "$@"
echo "$# scripts are clean"
