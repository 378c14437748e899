#!/bin/sh
# kernel.sh DIRECTORY   Debian's current kernel, unpacked there: vmlinuz, lib/modules/<version>. Nothing is installed.
set -eu
here=$(cd "${0%/*}" && pwd)
directory=$1
[ ! -e "$directory/vmlinuz" ] || exit 0

package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: *\(linux-image-[0-9].*\)/\1/p' | head -n 1)
[ -n "$package" ] || {
  echo 'guest: apt knows no linux-image-amd64 (apt-get update?)' >&2
  exit 1
}
rm -rf "$directory"
sh "$here/../../scripts/unpack-package.sh" "$package" "$directory"
# Debian 13 on has the modules in /usr/lib.
[ -d "$directory/lib/modules" ] || ln -s usr/lib "$directory/lib"
depmod -b "$directory" "${package#linux-image-}"
# Last: what says that all is there.
ln "$directory/boot/vmlinuz-${package#linux-image-}" "$directory/vmlinuz"
