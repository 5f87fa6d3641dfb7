#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the SHA-256 of the file that the input's "path" names, as a JSON string.
set -eu
. "${0%/*}/input_field.sh"
path=$(input_field path)
sum=$(sha256sum < "$path")
printf '"%s"\n' "${sum%% *}"
