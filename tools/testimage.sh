#!/bin/sh
# testimage.sh: makes an image of a session container from what this machine has, for
# tests where no image can be pulled: a Debian by debootstrap, this machine's node and
# npm, bin/containerboot, and what else the Dockerfile says. For anything but tests there
# is the Dockerfile.
#
# It prints the folder that it made: what `docker load` takes, once tar has packed it.
# The image's name is webordinary-session-test: and the folder's name. Both are told by
# content, so that a second call makes nothing.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
suite=bookworm
packages=ca-certificates,git,libatomic1,libstdc++6,openssh-client

die() {
	printf 'testimage: %s\n' "$1" >&2
	exit 1
}

hash() {
	sha256sum | cut -c 1-16
}

[ "$(uname -s)" = Linux ] || die 'an image can be made on Linux only'
[ "$(id -u)" -eq 0 ] || die 'making an image takes root, for debootstrap'
node=$(command -v node) || die 'node is needed: please install Node.js'
node=$(readlink -f "$node")
npm=$(npm root --global)/npm
[ -d "$npm" ] || die "npm was not found in $npm"

cache=$root/.cache/testimage
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9

MAKEFLAGS= make --no-print-directory bin/containerboot >&2

# What the Dockerfile does besides installing packages and copying.
users=$(sed -n 's/^RUN \(useradd .*\)/\1/p' Dockerfile)
folders=$(sed -n 's/^RUN mkdir \(.*\)/\1/p' Dockerfile)
variable=$(sed -n 's/^ENV \(.*\)/\1/p' Dockerfile)
entrypoint=$(sed -n 's/^ENTRYPOINT \(.*\)/\1/p' Dockerfile)
[ -n "$users" ] && [ -n "$folders" ] && [ -n "$variable" ] && [ -n "$entrypoint" ] || die 'the Dockerfile is not what this script knows'

# recipe is all that a base is made from. Its number counts changes of how it is made.
recipe="1 $suite $packages $users $folders $("$node" --version) $(sed -n 's/^  "version": //p' "$npm/package.json")"
base=$(echo "$recipe" | hash)
name=$({ echo "$base $variable $entrypoint"; cat bin/containerboot; } | hash)
image=$cache/$name
if [ -e "$image/manifest.json" ]; then
	echo "$image"
	exit 0
fi

# Nothing that was mounted or left half done outlives this script.
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# layer FOLDER FILE: packs a layer.
layer() {
	tar --create --file="$2.new" --directory="$1" --numeric-owner --sort=name .
	mv "$2.new" "$2"
}

if [ ! -e "$cache/base-$base.tar" ]; then
	sh tools/need.sh debootstrap
	echo 'making a Debian for the test image (a minute or two)' >&2
	tree=$work/tree
	unshare --mount debootstrap --variant=minbase \
		--include="$packages" "$suite" "$tree" >"$cache/debootstrap.log" 2>&1 ||
		{ tail -n 20 "$cache/debootstrap.log" >&2; die 'debootstrap failed'; }
	chroot "$tree" sh -c "$users && mkdir $folders"
	cp "$node" "$tree/usr/local/bin/node"
	mkdir -p "$tree/usr/local/lib/node_modules"
	cp -a "$npm" "$tree/usr/local/lib/node_modules/npm"
	ln -s ../lib/node_modules/npm/bin/npm-cli.js "$tree/usr/local/bin/npm"
	ln -s ../lib/node_modules/npm/bin/npx-cli.js "$tree/usr/local/bin/npx"
	# The authorities that this machine trusts.
	cp /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/ca-certificates.crt"
	rm -rf "$tree"/var/cache/apt "$tree"/var/lib/apt/lists "$tree"/usr/share/doc "$tree"/usr/share/locale \
		"$tree"/usr/share/man "$tree"/debootstrap
	rm -f "$cache"/base-*.tar
	layer "$tree" "$cache/base-$base.tar"
	rm -rf "$tree"
fi

mkdir -p "$work/top/usr/local/bin" "$work/image"
cp bin/containerboot "$work/top/usr/local/bin/containerboot"
ln "$cache/base-$base.tar" "$work/image/base.tar"
layer "$work/top" "$work/image/top.tar"
digest() {
	sha256sum "$work/image/$1" | cut -d ' ' -f 1
}
case $(uname -m) in
x86_64) architecture=amd64 ;;
aarch64) architecture=arm64 ;;
*) architecture=$(uname -m) ;;
esac
cat >"$work/image/config.json" <<-EOF
	{
	  "architecture": "$architecture", "os": "linux", "created": "1970-01-01T00:00:00Z",
	  "config": {
	    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "$variable"],
	    "Entrypoint": $entrypoint, "ExposedPorts": { "8080/tcp": {} }
	  },
	  "rootfs": { "type": "layers", "diff_ids": ["sha256:$(digest base.tar)", "sha256:$(digest top.tar)"] },
	  "history": [{ "created_by": "debootstrap" }, { "created_by": "containerboot" }]
	}
EOF
cat >"$work/image/manifest.json" <<-EOF
	[{ "Config": "config.json", "RepoTags": ["webordinary-session-test:$name"], "Layers": ["base.tar", "top.tar"] }]
EOF
# Those of other binaries, if no test can be using them any more.
find "$cache" -mindepth 1 -maxdepth 1 -type d ! -path "$work" -mmin +120 -exec rm -rf {} +
mv "$work/image" "$image"
echo "$image"
