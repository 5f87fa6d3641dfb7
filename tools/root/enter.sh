# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Runs commands in the build root with bubblewrap. Source it after lib.sh.
#
# The root of the new mount namespace is an empty tmpfs into which the build root's folders are mounted read-only: so the
# workspace and the cache can be mounted at their own paths, wherever these are. /proc and /sys are bound, not mounted
# anew, and the process namespace is shared: otherwise the kernel refuses Bazel's own linux-sandbox its mounts. The
# network namespace is shared because Bazel's client finds its server on the loopback device; actions get none.

# How bubblewrap is started: as a child, or with "exec" in place of the calling shell.
enter_by=

# Usage: enter FOLDER_OF_ROOT CACHE WORKSPACE EXTRA_BWRAP_ARGUMENT... -- COMMAND...
enter() {
  local fs=$1/fs cache=$2 workspace=$3 cwd extra=()
  shift 3
  while [ "$1" != -- ]; do
    extra+=("$1")
    shift
  done
  shift
  cwd=$(pwd -P)
  case $cwd/ in "$workspace"/*) ;; *) cwd=$workspace ;; esac
  # shellcheck disable=SC2086 # Empty, it is to vanish.
  $enter_by bwrap \
    --ro-bind "$fs/usr" /usr --ro-bind "$fs/etc" /etc --ro-bind "$fs/opt/sysroot" /opt/sysroot \
    --symlink usr/bin /bin --symlink usr/sbin /sbin --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
    --tmpfs /usr/local --tmpfs /usr/src --tmpfs /tmp --tmpfs /run --dir /var/tmp \
    --dev-bind /dev /dev --bind /proc /proc --bind /sys /sys \
    --bind "$workspace" "$workspace" --bind "$cache" "$cache" --ro-bind "$cache/roots" "$cache/roots" \
    --clearenv --setenv HOME "$cache/home" --setenv USER builder --setenv PATH /usr/bin:/bin \
    --setenv LANG C.UTF-8 --setenv TZ UTC --setenv TERM "${TERM:-dumb}" \
    --setenv JAVA_HOME /usr/lib/jvm/default-java --setenv CARGO_HOME "$cache/cargo" \
    "${extra[@]}" --remount-ro / --chdir "$cwd" -- "$@"
}

# As `enter`, with what Cargo needs to reach its registry as it does outside: name service, certificates, proxies and the
# user's Cargo configuration. Bazel itself is never run this way.
enter_online() {
  local root=$1 cache=$2 workspace=$3 file name extra=()
  shift 3
  for file in "${SSL_CERT_FILE:-}" "${CARGO_HTTP_CAINFO:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
    if [ -n "$file" ] && [ -f "$file" ]; then
      extra+=(--ro-bind "$(readlink -f "$file")" /etc/ssl/certs/ca-certificates.crt)
      break
    fi
  done
  extra+=(--setenv SSL_CERT_FILE /etc/ssl/certs/ca-certificates.crt --setenv CARGO_HTTP_CAINFO /etc/ssl/certs/ca-certificates.crt)
  for file in /etc/resolv.conf /etc/hosts; do
    [ ! -f "$file" ] || extra+=(--ro-bind "$(readlink -f "$file")" "$file")
  done
  file=${CARGO_HOME:-$HOME/.cargo}/config.toml
  [ ! -f "$file" ] || extra+=(--ro-bind "$(readlink -f "$file")" "$cache/cargo/config.toml")
  for name in HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy CARGO_HTTP_PROXY; do
    [ -z "${!name:-}" ] || extra+=(--setenv "$name" "${!name}")
  done
  enter "$root" "$cache" "$workspace" "${extra[@]}" "$@"
}
