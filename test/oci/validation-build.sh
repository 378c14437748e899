#!/bin/sh
# validation-build.sh DIRECTORY   The validation programs of the OCI runtime-tools, compiled there from Debian's source
# by Debian's Go and libraries: <program>.t, runtimetest, rootfs-<arch>.tar.gz. Does nothing if all is there. What Go
# has compiled stays in go-build beside it.
set -eu
here=$(cd "${0%/*}" && pwd)
mkdir -p "${1%/*}"
directory=$(cd "${1%/*}" && pwd)/${1##*/}
# One version for every machine, so that the assertions are the same; the sum is that of Debian's signed index.
archive=golang-github-opencontainers-runtime-tools_0.9.0.109.ge931285.orig.tar.xz
sum=203989a1ea98cf2aaced79155bbda09270b20db19b03376dde91ab12e5e6a0fe
made_of=$(cat "$here/validation-build.sh" "$here/tap/tap.go" | sha256sum)
if [ "$(cat "$directory/made-of" 2>/dev/null || true)" = "$made_of" ]; then exit 0; fi

echo 'tscrun: compiling for the tests: the validation programs of the OCI runtime-tools' >&2
work=$(mktemp -d "$directory.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
chmod 755 "$work"

# ---- the source, from the mirror that apt uses
mirror=$(apt-cache madison golang-github-opencontainers-runtime-tools-dev | awk -F ' *[|] *' 'NR == 1 { split($3, at, " "); print at[1] }')
pool=pool/main/g/${archive%%_*}
/usr/lib/apt/apt-helper -o APT::Sandbox::User= download-file "$mirror/$pool/$archive" "$work/$archive" "SHA256:$sum" >/dev/null
source=$work/go/src/github.com/opencontainers/runtime-tools
mkdir -p "$source" "$work/go/src/github.com/mndrix/tap-go" "$work/made"
tar -xJf "$work/$archive" -C "$source" --strip-components=1
# Not in Debian.
cp "$here/tap/tap.go" "$work/go/src/github.com/mndrix/tap-go/"
# They ask once a second for the end of what takes milliseconds: sooner at first, later then.
sed -i 's/time\.Sleep(pollInterval)/time.Sleep(time.Since(start)\/4 + pollInterval\/100)/' "$source/validation/util/test.go"
grep -q 'start)/4 + pollInterval/100' "$source/validation/util/test.go"

# Two are races of the program with its own container: one kills a command that ends by itself, the other compares when
# two that run side by side write a line. What is killed lives, and the hook waits for the line of the command, for a while.
sed -i 's/SetProcessArgs(\[\]string{"true"})/SetProcessArgs([]string{"sleep", "60"})/' "$source/validation/pidfile/pidfile.go"
grep -q '"sleep", "60"' "$source/validation/pidfile/pidfile.go"
# shellcheck disable=SC2016
sed -i 's/"echo .post-start called. >> %s"/"n=0; until [ -s %[1]s ] || [ $n = 50 ]; do n=$((n+1)); sleep 0.1; done; echo '"'post-start called'"' >> %[1]s"/' \
  "$source/validation/poststart/poststart.go"
grep -q 'until .*post-start called' "$source/validation/poststart/poststart.go"

# ---- the programs
cd "$source"
export GO111MODULE=off GOPATH="$work/go:/usr/share/gocode" GOCACHE="${directory%/*}/go-build" GOFLAGS=-trimpath GOTOOLCHAIN=local CGO_ENABLED=0
go build -ldflags '-s -w' -o "$work/made/" ./cmd/runtimetest ./validation/...
cd "$work/made"
for program in *; do
  [ "$program" = runtimetest ] || mv "$program" "$program.t"
done
arch=$(go env GOARCH)
if [ -e "$source/rootfs-$arch.tar.gz" ]; then
  cp "$source/rootfs-$arch.tar.gz" .
else
  # Theirs is a busybox too, but for two architectures only.
  mkdir -p "$work/rootfs/bin" "$work/rootfs/dev" "$work/rootfs/proc" "$work/rootfs/sys" "$work/rootfs/tmp"
  cp /bin/busybox "$work/rootfs/bin/"
  busybox --list | while read -r applet; do ln -sf busybox "$work/rootfs/bin/$applet"; done
  tar -czf "rootfs-$arch.tar.gz" -C "$work/rootfs" .
fi

echo "$made_of" >made-of
rm -rf "$directory"
mv -T "$work/made" "$directory"
