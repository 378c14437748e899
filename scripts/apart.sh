#!/bin/sh
# apart.sh COMMAND...   As root: runs the command with processes and mounts of its own, so that several levels of tests
# can run side by side: none sees another's processes, and all of its own end with it. Tests may make device nodes and
# setuid files in /tmp, which Debian 13 and container engines mount nodev and nosuid.
set -eu
if [ "$1" != --inside ]; then
  exec unshare --pid --fork --kill-child --mount --propagation private sh "$0" --inside "$@"
fi
shift
mount -t proc proc /proc
for dir in /tmp /var/tmp; do
  if [ -n "$(findmnt -n -M "$dir")" ]; then mount -o remount,bind,dev,suid,exec "$dir"; fi
done
# No exec: as process 1 a shell also reaps whoever loses its parent.
status=0
"$@" || status=$?
exit "$status"
