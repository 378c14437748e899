#!/bin/sh
# The second boot: what systemd has brought up, as the commands and the kernel say it; a line for each answer.
set -eu
export TSCRUN_NETWORK=none
tscrun() { bin/tscrun --root /mnt/data/store --runroot /run/tscrun-test "$@"; }
while [ "$(systemctl is-active tscrun-containers)" = activating ]; do sleep 1; done
echo "unit $(systemctl is-active tscrun-containers)"
tscrun ps -a --format 'state {{.Names}} {{.State}} {{.ExitCode}}'
for name in $(tscrun ps --format '{{.Names}}'); do
  pid=$(tscrun inspect -f '{{.State.Pid}}' "$name")
  echo "process $name $(tr '\0' ' ' <"/proc/$pid/cmdline")"
done
for name in always unless-stopped on-failure no; do
  echo "lives $name $(wc -l <"/mnt/data/store/volumes/$name/_data/lives")"
done
tscrun images --format 'image {{.Repository}}:{{.Tag}}'
tscrun start no
echo "lives no $(wc -l </mnt/data/store/volumes/no/_data/lives)"
tscrun ps -aq | xargs bin/tscrun --root /mnt/data/store --runroot /run/tscrun-test rm -f >/dev/null
tscrun volume prune -f -a >/dev/null
tscrun run --rm --name made localhost/base:1 sh -c 'echo run again'
tscrun ps -a -q
cd /mnt/data/store
for kind in containers names ranges volumes; do for left in "$kind"/* "$kind"/.[!.]*; do ! [ -h "$left" ] && ! [ -e "$left" ] || echo "left $left"; done; done
find /sys/fs/cgroup/tscrun -mindepth 1 -type d ! -name monitors -exec echo left {} ';'
