#!/bin/sh
# own-mounts.sh COMMAND...   In a mount namespace of its own: lets tests make device nodes and setuid files in /tmp,
# which Debian 13 and container engines mount nodev and nosuid; then becomes the command.
set -eu
for dir in /tmp /var/tmp; do
  if [ -n "$(findmnt -n -M "$dir")" ]; then mount -o remount,bind,dev,suid,exec "$dir"; fi
done
exec "$@"
