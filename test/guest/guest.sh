#!/bin/sh
# guest.sh [--memory MB] [--cpus N] [--timeout SECONDS] [--disk MB|FILE]... [--share DIRECTORY]... [--systemd]
#          [--prepare SCRIPT] [--verbose] -- COMMAND...
#
# Runs one command as root in a throw-away virtual machine: Debian's kernel, cgroup v2 alone, the host's files as its
# root (changes go to memory), /tmp, /run and /mnt on tmpfs, disks as /dev/vda on (empty ones, or files that stay), shared
# directories writable at their own path. The command starts in the current directory; its output and exit status are this script's.
# --systemd: process 1 is the host's systemd (Debian's package), with a system bus and the command as its only service,
# unless the script of --prepare, which runs before it, has enabled others.
# 124: the time is up; 125: the machine failed (its console is shown).
set -eu
here=$(cd "${0%/*}" && pwd)
cache=$here/../.cache

fail() {
  echo "guest: $*" >&2
  exit 125
}

memory=2048 cpus=2 limit=600 disks='' verbose='' role=second prepare=''
job=$(mktemp -d "${TMPDIR:-/tmp}/tscrun-guest.XXXXXX")
qemu=
# shellcheck disable=SC2317 # called by the trap
finish() {
  trap '' HUP INT TERM
  [ -z "$qemu" ] || kill "$qemu" 2>/dev/null || true
  rm -rf "$job"
}
trap finish EXIT
trap 'exit 143' HUP INT TERM
mkdir "$job/shared" "$job/initramfs"
: >"$job/shares"

while [ $# -gt 0 ]; do
  case $1 in
    --memory) memory=$2 ;;
    --cpus) cpus=$2 ;;
    --timeout) limit=$2 ;;
    --disk) disks="$disks $2" ;;
    --share) realpath -e "$2" >>"$job/shares" || fail "--share $2: no such directory" ;;
    --systemd) role=systemd ;;
    --prepare) prepare=$2 ;;
    --verbose) verbose=1 ;;
    --) break ;;
    *) fail "unknown option $1" ;;
  esac
  case $1 in
    --systemd | --verbose) shift ;;
    *) shift 2 ;;
  esac
done
[ "${1-}" = -- ] || fail 'no command'
shift
[ $# -gt 0 ] || fail 'no command'

[ "$(uname -m)" = x86_64 ] || fail "runs on x86_64 only, this is $(uname -m)"
for tool in qemu-system-x86_64 busybox depmod modprobe xz; do
  command -v $tool >/dev/null || fail "$tool is missing (scripts/bootstrap.sh --tests installs it)"
done
if [ "$role" = systemd ]; then
  for tool in /usr/lib/systemd/systemd /usr/bin/dbus-daemon; do
    [ -x $tool ] || fail "$tool is missing (scripts/bootstrap.sh --tests installs it)"
  done
fi
kernel=$cache/guest-kernel
sh "$here/kernel.sh" "$kernel" || fail 'there is no kernel'
version=$(basename "$kernel"/lib/modules/*)

# ---- the command and its shares ----------------------------------------------------------------------------------
quote() { printf "'%s' " "$(printf %s "$1" | sed "s/'/'\\\\''/g")"; }

{
  echo "export PATH=$(quote "$PATH") HOME=/root TERM=dumb TSCRUN_IN_GUEST=1"
  number=0
  while read -r directory; do
    echo "mkdir -p $(quote "$directory")"
    echo "mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none share$number $(quote "$directory") || exit 125"
    number=$((number + 1))
  done <"$job/shares"
  echo "cd $(quote "$PWD") || exit 125"
  printf 'exec '
  for word in "$@"; do quote "$word"; done
} >"$job/shared/command"
[ -z "$prepare" ] || cp "$prepare" "$job/shared/prepare"

# ---- initramfs ---------------------------------------------------------------------------------------------------
root=$job/initramfs
(cd "$root" && mkdir bin etc proc sys dev modules host changes new)
cp "$(command -v busybox)" "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
cp "$here/init" "$root/init"
chmod 755 "$root/init"
echo "directory=$(quote "$PWD") role=$role" >"$root/etc/guest.conf"
number=100
for module in virtio_pci 9pnet_virtio 9p overlay virtio_blk; do
  modprobe -d "$kernel" -S "$version" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
  number=$((number + 1)) # the order of loading
  case $file in
    *.xz) xz -dc "$file" >"$root/modules/$number-$(basename "$file" .xz)" ;;
    *) cp "$file" "$root/modules/$number-$(basename "$file")" ;;
  esac
done
(cd "$root" && find . | busybox cpio -o -H newc) >"$job/initrd" 2>/dev/null

# ---- the machine -------------------------------------------------------------------------------------------------
share() { # NAME DIRECTORY [,readonly=on]
  directory=$(printf %s "$2" | sed 's/,/,,/g')
  printf '%s\n' -fsdev "local,id=$1,path=$directory,security_model=none,multidevs=remap${3-}" \
    -device "virtio-9p-pci,fsdev=$1,mount_tag=$1"
}
{
  share root / ,readonly=on
  share modules "$kernel/lib/modules/$version" ,readonly=on
  share job "$job/shared"
  number=0
  while read -r directory; do
    share "share$number" "$directory"
    number=$((number + 1))
  done <"$job/shares"
  number=0
  for size in $disks; do
    disk=$size
    case $size in
      */*) ;;
      *)
        disk=$job/disk$number
        truncate -s "${size}M" "$disk"
        ;;
    esac
    printf '%s\n' -drive "if=virtio,format=raw,cache=unsafe,file=$disk"
    number=$((number + 1))
  done
  [ ! -w /dev/kvm ] || printf '%s\n' -accel kvm
} >"$job/arguments"

: >"$job/console"
: >"$job/shared/stdout"
: >"$job/shared/stderr"
set -- -accel tcg,thread=multi
while read -r argument; do set -- "$@" "$argument"; done <"$job/arguments"
setpriv --pdeathsig TERM timeout -k 5 "$limit" qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot \
  -cpu max -m "$memory" -smp "$cpus" -serial "file:$job/console" -kernel "$kernel/vmlinuz" -initrd "$job/initrd" \
  -append 'console=ttyS0 loglevel=3 panic=-1 cgroup_no_v1=all mitigations=off random.trust_cpu=on tsc=reliable' \
  "$@" </dev/null >"$job/log" 2>&1 &
qemu=$!
[ -z "$verbose" ] || tail -n +1 -f --pid="$qemu" "$job/console" >&2 &
tail -c +1 -f --pid="$qemu" "$job/shared/stdout" &
out=$!
tail -c +1 -f --pid="$qemu" "$job/shared/stderr" >&2 &
err=$!
ended=0
wait "$qemu" || ended=$?
qemu=
wait "$out" "$err" || true

[ ! -s "$job/shared/status" ] || exit "$(cat "$job/shared/status")"
if [ "$ended" = 124 ] || [ "$ended" = 137 ]; then
  echo "guest: not done after $limit seconds; the last lines of its console:" >&2
  tail -n 20 "$job/console" >&2
  exit 124
fi
{
  echo "guest: the machine ended with $ended and no status of the command; its console:"
  tail -n 40 "$job/console"
  cat "$job/log"
} >&2
exit 125
