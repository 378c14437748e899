#!/bin/sh
# npm test: all levels, from a fresh checkout. Levels may be named: scripts/test.sh unit kernel
# Those of root run side by side, one for each processor, and each is printed when it has ended.
# The last line is the sum; the exit status is 0 only if something ran and nothing failed.
set -eu
unset CDPATH # with it, cd may lead elsewhere, and prints
cd "${0%/*}/.."

levels=${*:-unit golden kernel clients oci soak guest}
limit=2400 # seconds for one level
for level in $levels; do
  case $level in
    unit | golden | kernel | clients | oci | soak | guest) ;;
    *)
      echo "scripts/test.sh: no level is called $level (unit golden kernel clients oci soak guest)" >&2
      exit 125
      ;;
  esac
done

# Without root and sudo what is installed must do.
if [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; then
  sh scripts/bootstrap.sh --tests
else
  sh scripts/bootstrap.sh
fi
node=${TSCRUN_NODE:-$(command -v node)}
results=$(mktemp -d)

# A cgroup of our own: whatever a test leaves behind can be found and ended.
cgroup=
for mount in /sys/fs/cgroup /sys/fs/cgroup/unified; do
  if [ "$(id -u)" != 0 ] || ! [ -w "$mount/cgroup.procs" ] || ! [ -e "$mount/cgroup.controllers" ]; then continue; fi
  home=$mount$(sed -n 's/^0:://p' /proc/self/cgroup)
  # Of runs that were killed; one that has just been made is empty, too, and somebody else may be removing them.
  find "$mount" -maxdepth 1 -name 'tscrun-test-??????' -mmin +1 | while read -r old; do
    ! grep -q '^populated 0' "$old/cgroup.events" || find "$old" -depth -type d -exec rmdir {} + || true
  done
  # Not by our process id, which somebody in another pid namespace has, too.
  cgroup=$(mktemp -d "$mount/tscrun-test-XXXXXX")
  chmod 755 "$cgroup"
  # In a container what looks like the root is none, and can hand down no controllers while it holds processes.
  if [ -e "$mount/cgroup.type" ]; then
    home=$mount/tscrun-test-outer
    mkdir -p "$home"
    while read -r pid; do echo "$pid" >"$home/cgroup.procs" || true; done <"$mount/cgroup.procs"
  fi
  break
done

finish() {
  trap '' HUP INT TERM
  rm -rf "$results"
  [ -n "$cgroup" ] || return 0
  echo $$ >"$home/cgroup.procs"
  echo 1 >"$cgroup/cgroup.kill"
  until rmdir "$cgroup" 2>/dev/null; do sleep 0.1; done
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM
[ -z "$cgroup" ] || echo $$ >"$cgroup/cgroup.procs"

# run_level LEVEL [COMMAND...]   The command runs what stands behind it.
run_level() {
  level=$1
  shift
  echo "== $level" >&2
  status=0
  # In the foreground, or Ctrl-C would not reach vitest; what vitest leaves is ended with the cgroup.
  TSCRUN_TEST_CGROUP=$cgroup timeout --foreground -k 10 "$limit" "$@" "$node" node_modules/vitest/vitest.mjs run \
    --project "$level" --configLoader runner --reporter=default --reporter=json \
    --outputFile.json="$results/$level.json" </dev/null || status=$?
  echo "$status" >"$results/$level.status"
}

# lane LEVEL...   Runs one after the other of those that no other lane has taken; what two lanes print is never mixed.
lane() {
  for level in "$@"; do
    mkdir "$results/$level.taken" 2>/dev/null || continue
    run_level "$level" sh scripts/apart.sh >"$results/$level.log" 2>&1
    flock "$results" cat "$results/$level.log"
  done
}

apart=
for level in $levels; do
  case $level in
    unit | golden) run_level "$level" ;;
    *)
      if [ "$(id -u)" != 0 ]; then
        echo "== $level: needs root, not run (sudo npm test runs it)" >&2
      # The longest but one, and it waits for no other: whoever took it last would be waited for.
      elif [ "$level" = guest ]; then
        apart="guest $apart"
      else
        apart="$apart $level"
      fi
      ;;
  esac
done

# shellcheck disable=SC2086 # a list of words
set -- $apart
if [ $# = 1 ]; then
  run_level "$1" sh scripts/apart.sh
elif [ $# -gt 1 ]; then
  echo "== side by side, printed as they end: $*" >&2
  lanes=$(nproc)
  while [ "$lanes" -gt 0 ]; do
    lane "$@" &
    lanes=$((lanes - 1))
  done
  wait
fi

"$node" scripts/test-summary.mjs "$results"
