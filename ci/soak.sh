#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Soaks one host with mixed work for a long time: scripts, tools, floods, limits, terminates and kills of cells' processes.
# Prints memory, descriptors, threads and processes of the host and the times of short answers as CSV; docs/reliability.md
# has figures. Status 1: an answer was wrong, or the host kept what it should have given back.
# Usage: ci/soak.sh [SECONDS [ARGUMENT...]]   SECONDS is 3600 unless given; arguments are those of //client/overhead:soak.
set -euo pipefail

workspace=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
seconds=${1:-3600}
shift || true

exec "$workspace/tools/bazel" run //client/overhead:soak -- --seconds "$seconds" "$@"
