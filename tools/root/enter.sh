# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Runs commands in the build root with bubblewrap, or as they are on a machine that is the root's image. Source it after
# lib.sh.
#
# The root of the new mount namespace is an empty tmpfs into which the build root's folders are mounted read-only: so the
# workspace and the cache can be mounted at their own paths, wherever these are. /proc and /sys are bound, not mounted
# anew, and the process namespace is shared: otherwise the kernel refuses Bazel's own linux-sandbox its mounts. The
# network namespace is shared because Bazel's client finds its server on the loopback device; actions get none.

# How bubblewrap is started: as a child, or with "exec" in place of the calling shell.
enter_by=

# The environment of every command in the root, as words NAME VALUE.
root_environment() {
  local cache=$1
  printf '%s\n' HOME "$cache/home" USER builder PATH /usr/bin:/bin LANG C.UTF-8 TZ UTC TERM "${TERM:-dumb}" \
    JAVA_HOME /usr/lib/jvm/default-java CARGO_HOME "$cache/cargo"
}

# The lines of /etc/passwd and /etc/group for whoever runs this: Bazel wants a name for the user's id. Always the same
# one, because names leak into build outputs, and not in the root's files, which are the same for everybody.
passwd_lines() {
  printf '%s\n' 'root:x:0:0:root:/:/bin/sh'
  [ "$(id -u)" = 0 ] || printf 'builder:x:%s:%s:builder:/:/bin/sh\n' "$(id -u)" "$(id -g)"
}

group_lines() {
  printf '%s\n' 'root:x:0:'
  [ "$(id -g)" = 0 ] || printf 'builder:x:%s:\n' "$(id -g)"
}

# Usage: enter FOLDER_OF_ROOT CACHE WORKSPACE EXTRA_BWRAP_ARGUMENT... -- COMMAND...
enter() {
  local root=$1 cache=$2 workspace=$3 cwd environment extra=()
  shift 3
  mapfile -t environment < <(root_environment "$cache")
  while [ "$1" != -- ]; do
    extra+=("$1")
    shift
  done
  shift
  cwd=$(pwd -P)
  case $cwd/ in "$workspace"/*) ;; *) cwd=$workspace ;; esac
  # shellcheck disable=SC2154 # lib.sh sets it.
  if [ "$root" = "$image_folder" ]; then
    enter_image "$cwd" "${environment[@]}" "${extra[@]}" -- "$@"
    return
  fi
  local fs=$root/fs variables=() index
  for ((index = 0; index < ${#environment[@]}; index += 2)); do
    variables+=(--setenv "${environment[index]}" "${environment[index + 1]}")
  done
  # shellcheck disable=SC2086 # Empty, it is to vanish.
  $enter_by bwrap \
    --ro-bind "$fs/usr" /usr --ro-bind "$fs/etc" /etc --ro-bind "$fs/opt/sysroot" /opt/sysroot \
    --ro-bind-data 7 /etc/passwd --ro-bind-data 8 /etc/group \
    --symlink usr/bin /bin --symlink usr/sbin /sbin --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
    --tmpfs /usr/local --tmpfs /usr/src --tmpfs /tmp --tmpfs /run --dir /var/tmp \
    --dev-bind /dev /dev --bind /proc /proc --bind /sys /sys \
    --bind "$workspace" "$workspace" --bind "$cache" "$cache" --ro-bind "$cache/roots" "$cache/roots" \
    --clearenv "${variables[@]}" "${extra[@]}" --remount-ro / --chdir "$cwd" -- "$@" \
    7<<<"$(passwd_lines)" 8<<<"$(group_lines)"
}

# On a machine that is the root: the same environment, and no bubblewrap. Usage: enter_image FOLDER NAME VALUE...
# EXTRA_BWRAP_ARGUMENT... -- COMMAND... Of bubblewrap's arguments the variables count; a file that it would bind from
# outside is in sight as it is.
enter_image() {
  local variables=()
  cd "$1" || return
  shift
  while [ "$1" != -- ]; do
    case $1 in
      --setenv)
        variables+=("$2=$3")
        shift 3
        ;;
      --ro-bind) shift 3 ;;
      *)
        variables+=("$1=$2")
        shift 2
        ;;
    esac
  done
  shift
  # shellcheck disable=SC2086 # Empty, it is to vanish.
  $enter_by env -i "${variables[@]}" "$@"
}

# As `enter`, with what a program needs to reach a server as it does outside: name service, certificates and proxies.
# Bazel is run this way only for a remote cache; its actions have no network either way.
enter_with_network() {
  local root=$1 cache=$2 workspace=$3 file name certificates=/etc/ssl/certs/ca-certificates.crt extra=()
  shift 3
  for file in "${SSL_CERT_FILE:-}" "${CARGO_HTTP_CAINFO:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
    if [ -n "$file" ] && [ -f "$file" ]; then
      extra+=(--ro-bind "$(readlink -f "$file")" "$certificates")
      # In an image nothing is bound: there the file is where it is.
      [ "$root" != "$image_folder" ] || certificates=$file
      break
    fi
  done
  extra+=(--setenv SSL_CERT_FILE "$certificates" --setenv CARGO_HTTP_CAINFO "$certificates")
  for file in /etc/resolv.conf /etc/hosts; do
    [ ! -f "$file" ] || extra+=(--ro-bind "$(readlink -f "$file")" "$file")
  done
  for name in HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy CARGO_HTTP_PROXY; do
    [ -z "${!name:-}" ] || extra+=(--setenv "$name" "${!name}")
  done
  enter "$root" "$cache" "$workspace" "${extra[@]}" "$@"
}

# As `enter_with_network`, with the user's Cargo configuration, so that Cargo reaches its registry as it does outside.
enter_online() {
  local root=$1 cache=$2 workspace=$3 file=${CARGO_HOME:-$HOME/.cargo}/config.toml extra=()
  shift 3
  if [ -f "$file" ] && [ "$root" = "$image_folder" ]; then
    cp "$file" "$cache/cargo/config.toml"
  elif [ -f "$file" ]; then
    extra+=(--ro-bind "$(readlink -f "$file")" "$cache/cargo/config.toml")
  fi
  enter_with_network "$root" "$cache" "$workspace" ${extra[@]+"${extra[@]}"} "$@"
}
