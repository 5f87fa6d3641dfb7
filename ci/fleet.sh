#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# HAProxy in front of hosts on this machine that ask for a token, under load: one host is added, one is killed, one
# drains. Then the manifests of host/fleet against the published schemas of Kubernetes.
# Usage: ci/fleet.sh HOST LOAD [CLIENTS]   LOAD is //client/grpc:fleet_bench; CLIENTS is 200 unless it is said
# Prints what the load saw each second, and the sessions that each host has. Status 1: a call hung, an answer was wrong
# or missing, a host was not left alone as it should, a manifest is not valid. Needs haproxy, curl and python3 with venv.
set -euo pipefail

if [ $# -lt 2 ] || [ ! -x "$1" ] || [ ! -x "$2" ]; then
  echo "usage: ci/fleet.sh HOST LOAD [CLIENTS]" >&2
  exit 2
fi
host=$(realpath -- "$1")
load=$(realpath -- "$2")
clients=${3:-200}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
haproxy=${HAPROXY:-haproxy}
scratch=$(mktemp -d)
pids=()
clean_up() {
  kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$scratch"
}
trap clean_up EXIT
# Below the ports that the kernel gives to those who connect: one of these could be where host 4 is to listen.
base=$((20000 + RANDOM % 12000))

# Starts host number $1.
start_host() {
  "$host" --listen "grpc://127.0.0.1:$((base + $1))" --metrics "127.0.0.1:$((base + 10 + $1))" --drain 10 \
    --token-file "$CODE_MODE_TOKEN_FILE" --limit sessions=256 --limit active-cells=256 \
    >"$scratch/host$1.out" 2>"$scratch/host$1.log" &
  host_pid[$1]=$!
  pids+=($!)
}

# One number of a host's figures, or "-" where there is no host.
figure() {
  curl -sf --max-time 2 "http://127.0.0.1:$((base + 10 + $1))/metrics" 2>/dev/null |
    awk -v name="$2" '$1 == name { print $2; found = 1 } END { if (!found) print "-" }' || true
}

sessions() {
  printf '%-28s' "$1"
  local number
  for number in 1 2 3 4; do printf '  host %d: %4s' "$number" "$(figure "$number" code_mode_grpc_sessions)"; done
  printf '\n'
}

export CODE_MODE_TOKEN_FILE=$scratch/tokens
printf 'of-this-run-%s-%s-%s-%s\n' "$RANDOM" "$RANDOM" "$RANDOM" "$RANDOM" >"$CODE_MODE_TOKEN_FILE"
for number in 1 2 3; do start_host "$number"; done
export CODE_MODE_BIND=127.0.0.1:$base CODE_MODE_ADMIN=$scratch/admin.sock
for number in 1 2 3 4; do export "CODE_MODE_HOST_$number=127.0.0.1:$((base + number))"; done
"$haproxy" -f host/fleet/haproxy.cfg -db >"$scratch/haproxy.log" 2>&1 &
pids+=($!)
# Hosts that start count as up at once and may be found down by the first check.
for _ in $(seq 100); do
  [ "$(figure 3 code_mode_grpc_sessions)" != - ] && break
  sleep 0.1
done
sleep 2

"$load" "http://$CODE_MODE_BIND" "$clients" 40 >"$scratch/load" &
load_pid=$!
pids+=("$load_pid")
sleep 8
sessions 'three hosts, after 8 s'
start_host 4
sleep 8
sessions 'a fourth one, 8 s later'
kill -KILL "${host_pid[1]}"
sleep 4
sessions 'host 1 killed, 4 s later'
lost_before=$(tail -n 1 "$scratch/load" | sed 's/.*lost *\([0-9]*\).*/\1/')
kill -TERM "${host_pid[2]}"
drained=0
wait "${host_pid[2]}" || drained=$?
sessions 'host 2 drained'
lost_after=$(tail -n 1 "$scratch/load" | sed 's/.*lost *\([0-9]*\).*/\1/')
loaded=0
wait "$load_pid" || loaded=$?
cat "$scratch/load"
echo "lost when a host was killed: $lost_before; lost when a host drained: $((lost_after - lost_before)), its exit status $drained"

manifests=0
ci/manifests.sh || manifests=$?
[ "$loaded" = 0 ] && [ "$drained" = 0 ] && [ "$((lost_after - lost_before))" = 0 ] && [ "$manifests" = 0 ]
