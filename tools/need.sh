#!/bin/sh
# need.sh COMMAND [PACKAGE]: makes sure that a command is there, by apt-get where it is
# missing and we are root on a Debian or its like; otherwise says what to install.
set -eu

# Daemons are where not everybody's PATH leads.
PATH=$PATH:/usr/sbin

command -v "$1" >/dev/null && exit 0

package=${2:-$1}
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "$1 is needed and was not found on PATH: please install it (Debian: apt-get install $package)" >&2
	exit 1
fi
echo "installing $package, for $1" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get install -y --no-install-recommends "$package" >&2 </dev/null ||
	{ apt-get update >&2 && apt-get install -y --no-install-recommends "$package" >&2 </dev/null; }
