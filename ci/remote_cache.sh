#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Shows that a build takes results from a shared cache: two checkouts, each with a cache folder of its own, and nginx
# with WebDAV between them, on loopback. Needs nginx with its DAV module, curl, openssl, and V8 in this user's disk cache.
#
#  1. What one checkout has built and sent, the other takes: no action runs there.
#  2. A checkout that may not write sends nothing.
#  3. V8, from a server over this user's disk cache, whose layout nginx translates; prints how long it took.
#  4. With the server gone the build still works.
#  5. Over TLS, with a certificate that only SSL_CERT_FILE makes known.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/root/lib.sh
. tools/root/lib.sh

small=//ci/hermetic:c
command -v nginx >/dev/null || die "nginx is not there"
cache=$(cache_folder)
scratch=$(mktemp -d "$cache/run/remote-XXXXXX")

clean_up() {
  local name
  for name in one two; do
    [ ! -d "$scratch/$name" ] || in_checkout "$name" shutdown >/dev/null 2>&1 || true
    git worktree remove --force "$scratch/$name" 2>/dev/null || true
  done
  stop_server
  chmod -R u+w "$scratch"
  rm -rf "$scratch"
}
trap clean_up EXIT

# ---- The server ----

server=
port=$((20000 + RANDOM % 20000))

# Usage: start_server FOLDER METHODS DIRECTIVES [TLS]. In FOLDER are /ac and /cas; TLS follows the port.
start_server() {
  local methods=()
  [ -z "$2" ] || methods=("dav_methods $2;" "create_full_put_path on;")
  cat >"$scratch/nginx.conf" <<CONF
daemon off;
user root;
pid $scratch/nginx.pid;
error_log $scratch/error.log;
events {}
http {
  access_log $scratch/access.log;
  client_body_temp_path $scratch/body;
  client_max_body_size 2g;
  server {
    listen 127.0.0.1:$port ${4:-};
    root $1;
    $3
    location / {
      ${methods[*]}
    }
  }
}
CONF
  mkdir -p "$1" "$scratch/body"
  : >"$scratch/access.log"
  nginx -e "$scratch/error.log" -c "$scratch/nginx.conf" &
  server=$!
  until curl --silent --insecure --output /dev/null "http${4:+s}://127.0.0.1:$port/"; do
    kill -0 "$server" 2>/dev/null || die "nginx did not start: $(cat "$scratch/error.log")"
  done
}

stop_server() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  [ -z "$server" ] || wait "$server" 2>/dev/null || true
  server=
}

# Requests of a method that the server has answered.
requests() { grep -c "\"$1 /" "$scratch/access.log" || true; }

expect_nothing_sent() {
  [ "$(requests PUT)" = 0 ] || die "a checkout that may only read has sent $(requests PUT) files"
}

# ---- The checkouts ----

# A checkout with a cache that has the build root and the crates, and no result of any build.
make_checkout() {
  local new=$scratch/$1.cache/code_mode
  git worktree add --quiet --detach "$scratch/$1" HEAD
  mkdir -p "$new"/{roots,cargo}
  cp --archive --link "$cache/roots/$(root_key)" "$new/roots/"
  cp --archive --link "$cache/cargo/registry" "$cache"/cargo/fetched-* "$new/cargo/"
}

# Usage: in_checkout NAME BAZEL_ARGUMENT...
in_checkout() (
  cd "$scratch/$1"
  XDG_CACHE_HOME=$scratch/$1.cache tools/bazel "${@:2}"
)

# Builds a target with the shared cache. Usage: build NAME TARGET; prints Bazel's line with the processes.
build() {
  in_checkout "$1" build --config=remote-cache --noshow_progress "$2" >"$scratch/log" 2>&1 || {
    cat "$scratch/log" >&2
    die "the build failed"
  }
  grep -o 'INFO: [0-9]* process.*' "$scratch/log" | tail -n 1
}

for name in one two; do
  make_checkout "$name"
  printf 'build:remote-cache --remote_cache=http://127.0.0.1:%s\n' "$port" >"$scratch/$name/user.bazelrc"
done
echo 'build:remote-cache --remote_upload_local_results' >>"$scratch/one/user.bazelrc"

start_server "$scratch/shared" PUT ''
made=$(build one $small)
[[ $made == *linux-sandbox* ]] || die "the first checkout ran nothing itself: $made"
[ "$(requests PUT)" -gt 0 ] || die "the first checkout sent nothing"
say "sent by one checkout: $(requests PUT) files ($made)"
: >"$scratch/access.log"
taken=$(build two $small)
[[ $taken == *'remote cache hit'* && $taken != *linux-sandbox* ]] || die "the other ran actions itself: $taken"
expect_nothing_sent
say "taken by the other: $taken"
stop_server

# Bazel keeps its own folder as ac/01/0123..., and asks a server for ac/0123...
# shellcheck disable=SC2016 # nginx's variables.
start_server "$cache/disk" '' 'rewrite "^/(ac|cas)/(..)(.*)$" /$1/$2/$2$3 break;'
started=$SECONDS
taken=$(build two //third_party/v8:archive)
[[ $taken == *'remote cache hit'* ]] || die "V8 did not come from the server: $taken"
expect_nothing_sent
say "V8 in $((SECONDS - started)) s: $taken"
stop_server

# What it still has is not to count: neither its own disk cache nor what it has built.
forget() {
  in_checkout two clean >/dev/null 2>&1
  rm -rf "$scratch/two.cache/code_mode/disk"
}

forget
alone=$(build two $small)
[[ $alone == *linux-sandbox* ]] || die "without the server nothing was run: $alone"
say "without the server: $alone"

openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
  -keyout "$scratch/key.pem" -out "$scratch/certificate.pem" 2>"$scratch/log" || die "openssl failed: $(cat "$scratch/log")"
printf 'build:remote-cache --remote_cache=https://localhost:%s\n' "$port" >"$scratch/two/user.bazelrc"
start_server "$scratch/shared" '' "ssl_certificate $scratch/certificate.pem; ssl_certificate_key $scratch/key.pem;" ssl
export SSL_CERT_FILE=$scratch/certificate.pem
in_checkout two shutdown >/dev/null 2>&1
forget
taken=$(build two $small)
[[ $taken == *'remote cache hit'* ]] || die "nothing came over TLS: $taken"
say "over TLS: $taken"
