#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the number of lines of the file that the input's "path" names.
set -eu
. "${0%/*}/input_field.sh"
path=$(input_field path)
exec wc -l < "$path"
