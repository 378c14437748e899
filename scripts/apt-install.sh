#!/bin/sh
# apt-install.sh PACKAGE...   As root: installs Debian packages and lets none of them start a service.
set -eu
export DEBIAN_FRONTEND=noninteractive

command -v apt-get >/dev/null || exit 1

# invoke-rc.d asks this file; 101 forbids. A container's own one stays as it is.
policy=/usr/sbin/policy-rc.d
made_policy=''
failed=$(mktemp)
# shellcheck disable=SC2317 # called by the trap
finish() {
  rm -f "$failed"
  [ -z "$made_policy" ] || rm -f "$policy"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM
if ! [ -e "$policy" ]; then
  made_policy=1
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi

# Its progress in one line a package, and what went wrong.
install() {
  : >"$failed"
  { apt-get install -y --no-install-recommends "$@" </dev/null 2>&1 || echo failed >"$failed"; } |
    sed -n -e 's/^Setting up \([^ :]*\).*/  \1/p' -e '/^E: /p' -e '/^dpkg: error/p' >&2
  ! [ -s "$failed" ]
}

# The lists may be absent or older than the archive.
if ! apt-cache show "$@" >/dev/null 2>&1 || ! install "$@"; then
  apt-get update -qq >&2
  install "$@"
fi
