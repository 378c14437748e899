#!/bin/sh
# npm test: all levels, from a fresh checkout. Levels may be named: scripts/test.sh unit kernel
# The last line is the sum; the exit status is 0 only if something ran and nothing failed.
set -eu
cd "${0%/*}/.."

levels=${*:-unit golden kernel clients oci soak guest}
limit=1200 # seconds for one level

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
  cgroup=$mount/tscrun-test-$$
  mkdir "$cgroup"
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

for level in $levels; do
  case $level in
    unit | golden) run_level "$level" ;;
    kernel | clients | oci | soak | guest)
      if [ "$(id -u)" = 0 ]; then
        run_level "$level" unshare --mount --propagation private sh scripts/own-mounts.sh
      else
        echo "== $level: needs root, not run (sudo npm test runs it)" >&2
      fi
      ;;
    *)
      echo "scripts/test.sh: no level is called $level (unit golden kernel clients oci soak guest)" >&2
      exit 125
      ;;
  esac
done

"$node" scripts/test-summary.mjs "$results"
