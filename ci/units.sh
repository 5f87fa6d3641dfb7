#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Reads the units of host/systemd as systemd does: it must know every line and find it meaningful, and what it counts as
# the exposure of each service must not pass 1 of 10. Nothing is installed or started.
# Needs systemd-analyze 252 or newer, of Debian's package systemd.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/root/lib.sh
. tools/root/lib.sh

# Tenths.
most_exposed=10

command -v systemd-analyze >/dev/null || die 'systemd-analyze is not there: apt-get install systemd'

# A root of its own has the units and what they name: the program, and the units of systemd itself.
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
units=$root/etc/systemd/system
mkdir -p "$units" "$root/usr/lib/systemd" "$root/usr/lib/code_mode"
cp -r /usr/lib/systemd/system "$root/usr/lib/systemd/"
install -m 755 /dev/stdin "$root/usr/lib/code_mode/code_mode_host" <<<'#!/bin/sh'
cp host/systemd/* "$units"

# What systemd has to say about the units. It overlooks lines that it does not understand, and its status says nothing of
# them.
complaints() {
  systemd-analyze --man=no --root="$root" verify "$units"/code_mode_* 2>&1 || true
}

said=$(complaints)
[ -z "$said" ] || die "$said"

for service in code_mode_shared.service code_mode_host@.service; do
  printf '%s: ' "$service"
  systemd-analyze --no-pager --offline=true --root="$root" --threshold="$most_exposed" security "$service" | tail -n 1 |
    sed 's/^[^:]*: //'
done

# The check itself can fail.
for broken in 's/^KillMode=.*/KillMode=mixt/' 's/^OOMPolicy=/OOMPolice=/' 's/code_mode_host --listen/no_host --listen/'; do
  sed "$broken" host/systemd/code_mode_shared.service >"$units/code_mode_shared.service"
  [ -n "$(complaints)" ] || die "nothing was said of a unit that $broken has broken"
done
printf 'the units are understood\n'
