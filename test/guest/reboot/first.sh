#!/bin/sh
# The first boot: containers of every kind on a disk, then no power any more in the midst of what makes more of them.
set -eu
export TSCRUN_NETWORK=none
mkfs.ext4 -q /dev/vda
mkdir -p /mnt/data
mount /dev/vda /mnt/data
rootfs=/mnt/data/rootfs
for dir in bin proc sys dev etc tmp v; do mkdir -p "$rootfs/$dir"; done
cp /bin/busybox "$rootfs/bin/busybox"
for applet in sh sleep sync; do ln -s busybox "$rootfs/bin/$applet"; done

tscrun() { bin/tscrun --root /mnt/data/store --runroot /run/tscrun-test "$@"; }
image=localhost/base:1
up='echo up >>/v/lives; sync; exec sleep 19320'
tscrun run -d --name base --rootfs "$rootfs:O" sleep 19320
tscrun commit -q -s base $image
tscrun rm -f base
for policy in always unless-stopped on-failure no; do
  tscrun run -d --name "$policy" --restart "$policy" -v "$policy:/v" $image sh -c "$up"
done
tscrun run -d --name stopped --restart unless-stopped $image sleep 19320
tscrun stop -t 0 stopped
tscrun run -d --name joined --restart always --pid container:always $image sleep 19320
tscrun run -d --rm --name gone $image sleep 19320
tscrun run --name ended $image sh -c 'exit 3' || [ $? = 3 ]
tscrun create --name created $image sleep 19320
tscrun generate systemd --all >/mnt/data/tscrun-containers.service
# All this was long ago when the power goes.
sync

# This was a moment ago: the kernel has written names, but perhaps not what is in the files.
tscrun create --name recent -v /anonymous $image sleep 19320
tscrun run --name short $image sh -c :
tscrun run -d --name short-detached $image sh -c :

while :; do tscrun run --rm $image sh -c :; done &
while :; do
  tscrun create --name made $image sh -c : && tscrun rename made renamed && tscrun rm renamed
done &
sleep "$1"
echo 0 >/run/guest/job/status
echo b >/proc/sysrq-trigger
