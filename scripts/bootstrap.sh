#!/bin/sh
# Makes a fresh checkout runnable: npm packages, a C compiler, native/ and dist/. With --tests also the Debian packages
# of scripts/test-packages.txt. Does only what is missing; says on stderr what it does; ends with 125 if it cannot.
set -eu
unset CDPATH # with it, cd may lead elsewhere, and prints

PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
export PATH
here=${0%/*}
root=$(cd "$here/.." && pwd -P)
cd "$root"
tests=
[ "${1-}" != --tests ] || tests=1

say() { echo "tscrun: $*" >&2; }
fail() {
  say "$*"
  exit 125
}

# ---- who we are -------------------------------------------------------------------------------------------------
me=$(id -u)
owner=$(stat -c %u .)
group=$(stat -c %g .)
[ "$me" = 0 ] || [ "$me" = "$owner" ] || fail "$root belongs to uid $owner: run this as that user or as root"

# What is built belongs to whom the checkout belongs, also under sudo.
home=${HOME-}
[ "$me" = "$owner" ] || home=$(getent passwd "$owner" | cut -d: -f6)
as_owner() {
  if [ "$me" = "$owner" ]; then
    HOME=$home "$@"
  else
    HOME=$home setpriv --reuid="$owner" --regid="$group" --clear-groups --no-new-privs -- "$@"
  fi
}
# npm keeps its cache at home; whom /etc/passwd does not know, as often in a CI job's container, has none.
if [ -z "$home" ] || ! as_owner test -w "$home"; then
  home=$(mktemp -d)
  trap 'rm -rf "$home"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' HUP TERM
  [ "$me" = "$owner" ] || chown "$owner:$group" "$home"
fi

# One bootstrap at a time; the lock is the checkout's directory itself and ends with this process.
exec 9<"$root"
waited=
if ! flock -n 9; then
  say 'waiting for another bootstrap of this checkout'
  flock 9
  waited=1
fi

# ---- Node -------------------------------------------------------------------------------------------------------
node=${TSCRUN_NODE:-$(command -v node || true)}
# shellcheck disable=SC2016 # words for the user to type
[ -n "$node" ] || fail 'node is not in PATH: install Node 20.19 or newer; if sudo hides it, use `sudo env PATH="$PATH" ...`'
as_owner "$node" -e 'var v = process.versions.node.split("."); process.exit(v[0] > 20 || (v[0] == 20 && v[1] >= 19) ? 0 : 3)' ||
  case $? in
    3) fail "Node $("$node" -p process.versions.node) is too old: tscrun needs 20.19 or newer ($node)" ;;
    *) fail "the owner of the checkout (uid $owner) cannot run $node" ;;
  esac
arch=$("$node" -p process.arch)

# ---- Debian packages --------------------------------------------------------------------------------------------
# apt_install WHAT-FOR PACKAGE...   Announced first; the only thing done as root.
apt_install() {
  purpose=$1
  shift
  command -v apt-get >/dev/null || fail "missing $purpose (Debian's names): $*; install them and start again"
  as_root=
  if [ "$me" != 0 ]; then
    command -v sudo >/dev/null || fail "missing $purpose: $*; install them as root: apt-get install $*"
    as_root=sudo
  fi
  say "installing Debian packages $purpose: apt-get install $*"
  $as_root /bin/sh scripts/apt-install.sh "$@" || fail "missing $purpose: $*; apt-get could not install them"
}

installed() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

wanted=
command -v make >/dev/null || wanted="$wanted make"
command -v "${CC:-musl-gcc}" >/dev/null || wanted="$wanted gcc musl-tools"
[ -e /usr/include/linux/types.h ] || wanted="$wanted linux-libc-dev"
# shellcheck disable=SC2086 # a list of words
[ -z "$wanted" ] || apt_install 'to compile native/' $wanted

if [ -n "$tests" ]; then
  wanted=
  unpack=
  while read -r package how; do
    case $package in '' | '#'*) continue ;; esac
    case $how in
      unpack | unpack-if-any) [ -e "test/.cache/packages/$package" ] || unpack="$unpack $package:$how" ;;
      *) installed "$package" || wanted="$wanted $package" ;;
    esac
  done <scripts/test-packages.txt
  # shellcheck disable=SC2086
  [ -z "$wanted" ] || apt_install 'for the tests' $wanted
  for package in $unpack; do
    how=${package##*:} package=${package%:*}
    if [ "$how" = unpack-if-any ] && ! apt-cache show "$package" >/dev/null 2>&1; then continue; fi
    say "unpacking for the tests: $package"
    as_owner /bin/sh scripts/unpack-package.sh "$package" "test/.cache/packages/$package" ||
      fail "missing for the tests: $package; apt-get could not fetch it"
  done
  if [ "$(uname -m)" = x86_64 ] && ! [ -e test/.cache/guest-kernel/vmlinuz ]; then
    say "unpacking for the tests: a kernel for the guest"
    as_owner /bin/sh test/guest/kernel.sh test/.cache/guest-kernel ||
      fail 'missing for the tests: a kernel for the guest; apt-get could not fetch it'
  fi
  as_owner /bin/sh test/oci/validation-build.sh test/.cache/oci-validation ||
    fail 'missing for the tests: the validation programs of the OCI runtime-tools'
fi

# ---- npm packages -----------------------------------------------------------------------------------------------
done_by=node_modules/.package-lock.json # npm writes it last
fresh=
if ! [ -e "$done_by" ] || [ -n "$(find package-lock.json -newer "$done_by")" ]; then
  npm=${node%/*}/npm
  [ -x "$npm" ] || npm=$(command -v npm) || fail 'npm is not in PATH: install it beside Node'
  say 'installing npm packages: npm ci'
  as_owner env PATH="${node%/*}:$PATH" "$npm" ci --no-audit --no-fund --no-update-notifier --ignore-scripts --loglevel=error \
    --prefer-offline --fetch-retry-mintimeout=2000 --fetch-retry-factor=3 >&2 ||
    fail 'npm packages are missing and npm ci could not install them (is the npm registry reachable?)'
  # A file that npm cannot write for want of space is a warning to it, and its end a success.
  [ -e "$done_by" ] || fail 'npm ci has not written everything (is the disk full?)'
  fresh=1
fi

# ---- build ------------------------------------------------------------------------------------------------------
# What another has just made is complete: dist/cli.cjs is written last.
if [ -n "$waited" ] && [ -e dist/cli.cjs ] && [ -x "native/$arch/launcher" ]; then exit 0; fi
say "compiling native/$arch"
as_owner make -s -C native >&2 || fail 'make -C native did not succeed'
say 'building dist/'
as_owner "$node" scripts/build.mjs >&2 || {
  # What was installed just now may be incomplete all the same: the next start installs it again.
  [ -z "$fresh" ] || rm -f "$done_by"
  fail 'the build did not succeed'
}
printf '%s\n' "$node" | as_owner tee "native/$arch/node-path" >/dev/null
say 'ready'
