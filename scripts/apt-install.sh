#!/bin/sh
# apt-install.sh PACKAGE...   As root: installs Debian packages and lets none of them start a service.
set -eu
export DEBIAN_FRONTEND=noninteractive

command -v apt-get >/dev/null || exit 1

# invoke-rc.d asks this file; 101 forbids. A container's own one stays as it is.
policy=/usr/sbin/policy-rc.d
if ! [ -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi

install() { apt-get install -qq -y --no-install-recommends "$@" </dev/null >&2; }

# The lists may be absent or older than the archive.
if ! apt-cache show "$@" >/dev/null 2>&1 || ! install "$@"; then
  apt-get update -qq >&2
  install "$@"
fi
