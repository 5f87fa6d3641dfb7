# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Deletes roots and packages that nobody uses any more. lib.sh sources it.

# A root that no call of tools/bazel has used for so many days is deleted when another one is made.
root_unused_days=14
# A package that no root was made of for so many days is deleted then too, unless a root that is left holds it.
deb_unused_days=90

# Whether a process lives in a root: its mounts name the folder.
root_is_entered() {
  local name=/roots/${1##*/}/fs
  # A process may end meanwhile; then its file cannot be read.
  grep -qsF -- "$name" /proc/[0-9]*/mountinfo
}

# Call it with the roots lock held. Arguments: the cache folder, and the root that was just made.
collect_roots() {
  local cache=$1 kept=$2 folder deb
  for folder in "$cache"/roots/*/; do
    folder=${folder%/}
    [ "$folder" != "$kept" ] && [ -d "$folder" ] || continue
    # Roots of earlier versions of these scripts have no such file: the folder's own time serves.
    [ -n "$(find "$folder/used" "$folder" -maxdepth 0 -mtime -"$root_unused_days" 2>/dev/null)" ] && continue
    root_is_entered "$folder" && continue
    say "deleting the build root ${folder##*/}, unused for $root_unused_days days"
    # Out of its place in one step: whatever is left of it by a kill is deleted by the next making.
    mv -T "$folder" "$cache/roots/.new-unused-${folder##*/}"
    rm -rf "$cache/roots/.new-unused-${folder##*/}"
  done
  find "$cache/debs" -name '*.deb' -mtime +"$deb_unused_days" | while IFS= read -r deb; do
    deb=${deb##*/}
    grep -qsF -- "${deb%.deb}" "$cache"/roots/*/manifest || rm "$cache/debs/$deb"
  done
}
