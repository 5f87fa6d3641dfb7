#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the paths of the working folder's files that end in the input's "suffix".
set -eu
. "${0%/*}/input_field.sh"
suffix=$(input_field suffix)

# Without git, or outside of a repository, everything counts but hidden and generated folders.
files=$(git ls-files --cached --others --exclude-standard 2>/dev/null) ||
  files=$(find . -name '.?*' -prune -o -name target -prune -o -type f -print | sed 's|^\./||')

printf '%s\n' "$files" | sort -u | while IFS= read -r path; do
  case $path in
    # A file that was deleted and not yet committed is still listed.
    *"$suffix") if [ -f "$path" ]; then printf '%s\n' "$path"; fi ;;
  esac
done
