#!/bin/sh
# unpack-package.sh PACKAGE DIRECTORY   The files of a Debian package in a directory of their own, nothing installed.
set -eu
package=$1 directory=$2

mkdir -p "${directory%/*}"
new=$(mktemp -d "$directory.XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM
chmod 755 "$new"
# As root apt would fetch as another user, who may not write here.
(cd "$new" && apt-get download -qq -o APT::Sandbox::User= "$package" >&2)
dpkg-deb -x "$new"/*.deb "$new"
rm "$new"/*.deb
mv -T "$new" "$directory"
