#!/bin/sh
# Runs one edge on this machine with two example clients, amelia and bramble.
# This is the body of `make run`; `bin/caddy` must have been built.
#
#   WEBORDINARY_HTTP_PORT   where edit sessions are served, default 8080
#   WEBORDINARY_HTTPS_PORT  default 8443
#   WEBORDINARY_ADMIN       Caddy's admin endpoint, default localhost:2019
#   WEBORDINARY_DATA        where everything is kept, default .data in this tree
#   WEBORDINARY_API_UPSTREAM, or API_UPSTREAM as containerboot calls it
#                           what gets /session/ID/api/, default the site itself
#   WEBORDINARY_RUNNER, or RUNNER
#                           what holds the sessions' containers: process, or docker
#
# With docker:
#   DOCKER_HOST             the engine, default that of the docker command
#   WEBORDINARY_IMAGE       the containers' image, default webordinary-session, which is
#                           built from the Dockerfile where it is missing
#
# What exists already in the data folder is left as it is: to begin anew, remove
# the folder.

set -eu

die() {
	printf 'run: %s\n' "$1" >&2
	exit 1
}

need() {
	command -v "$1" >/dev/null 2>&1 || die "$1 is not installed: please install $2"
}

# Percent-encodes a path for a file URL, byte by byte.
encode() {
	printf '%s' "$1" | od -An -v -tx1 | tr -s ' ' '\n' | LC_ALL=C awk '
		BEGIN { for (i = 33; i < 127; i++) char[sprintf("%02x", i)] = sprintf("%c", i) }
		NF { c = char[$1]; printf "%s", c ~ /^[A-Za-z0-9\/._~-]$/ ? c : "%" toupper($1) }'
}

# Git on the bare repository $1, deaf to whatever this user has configured.
quiet_git() {
	dir=$1
	shift
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 git --git-dir="$dir" \
		-c core.hooksPath=/dev/null \
		-c core.excludesFile=/dev/null \
		-c core.attributesFile=/dev/null \
		-c user.name='webordinary examples' \
		-c user.email='examples@webordinary.invalid' \
		"$@"
}

# Makes client $1's repository, with its site as the first commit on main. It is
# made beside its place and moved there whole, so that an interrupted start is
# simply done again.
make_repository() {
	repository=$WEBORDINARY_DATA/repositories/$1.git
	[ ! -e "$repository" ] || return 0

	partial=$WEBORDINARY_DATA/repositories/.$1.git.partial
	rm -rf "$partial"
	mkdir -p "$partial"
	quiet_git "$partial" init --quiet --bare --template=
	quiet_git "$partial" symbolic-ref HEAD refs/heads/main
	quiet_git "$partial" --work-tree="examples/$1/site" add --all
	quiet_git "$partial" --work-tree="examples/$1/site" commit --quiet --message='The site as it is'
	rm -f "$partial/index"
	mv "$partial" "$repository"
}

# Adds client $1's config where there is none. One that exists may have been
# edited and is never overwritten.
add_client() {
	if message=$(bin/caddy webordinary client get "$1" 2>&1 >/dev/null); then
		return 0
	fi
	case $message in
	*[Nn]'ot found'*) ;;
	*) die "looking up client $1: $message" ;;
	esac
	sed "s|{data}|$(encode "$WEBORDINARY_DATA")|" "examples/$1/client.json" |
		bin/caddy webordinary client put - >&2
}

# Makes sure of a Docker Engine and of the containers' image on it, or says what is missing.
prepare_docker() {
	need docker 'Docker Engine (https://docs.docker.com/engine/install/), or leave out RUNNER=docker'
	# The edge knows nothing of the docker command's contexts.
	: "${DOCKER_HOST:=$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null)}"
	export DOCKER_HOST
	if ! message=$(docker version --format '{{.Server.Version}}' 2>&1); then
		case $message in
		*'ermission denied'*)
			die "user $(id -un) may not use the Docker Engine at $DOCKER_HOST: add it to the group docker (sudo usermod -aG docker $(id -un)) and log in anew"
			;;
		*)
			die "no Docker Engine answers at $DOCKER_HOST: start it (sudo systemctl start docker, or Docker Desktop), or set DOCKER_HOST"
			;;
		esac
	fi

	WEBORDINARY_IMAGE=${WEBORDINARY_IMAGE:-webordinary-session}
	if ! docker image inspect "$WEBORDINARY_IMAGE" >/dev/null 2>&1; then
		[ "$WEBORDINARY_IMAGE" = webordinary-session ] ||
			die "image $WEBORDINARY_IMAGE is not on the Docker Engine: pull it or build it, or unset WEBORDINARY_IMAGE"
		printf 'building the image %s\n' "$WEBORDINARY_IMAGE" >&2
		docker build --tag "$WEBORDINARY_IMAGE" . >&2 ||
			die "the image could not be built: mend what docker build says, or set WEBORDINARY_IMAGE to one that is on the engine"
	fi

	# The example repositories are folders of this user's, to which containers push. A
	# rootless engine's root is this user.
	WEBORDINARY_USER=
	case $(docker info --format '{{.SecurityOptions}}') in
	*rootless*) ;;
	*) [ "$(id -u)" -eq 0 ] || WEBORDINARY_USER=$(id -u):$(id -g) ;;
	esac
	export WEBORDINARY_IMAGE WEBORDINARY_USER
	printf '%s\n' 'containers outlive this edge, and save and end by themselves; to see them: docker ps --filter label=com.webordinary.deployment' >&2
}

# Prints where each client's sessions begin, as soon as the edge $1 answers. It
# ends with the edge: a background job of a script never sees Ctrl-C.
announce() {
	bin/caddy webordinary client list --links --wait 60s &
	list=$!
	while kill -0 "$list" 2>/dev/null; do
		if ! kill -0 "$1" 2>/dev/null; then
			kill "$list" 2>/dev/null || :
			return 0
		fi
		sleep 1
	done
}

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"

WEBORDINARY_RUNNER=${WEBORDINARY_RUNNER:-${RUNNER:-process}}
need git 'Git'
case $WEBORDINARY_RUNNER in
process)
	need node 'Node.js 20.3 or newer'
	need npm 'npm, which comes with Node.js'
	;;
docker) prepare_docker ;;
*) die "RUNNER must be process or docker, got $WEBORDINARY_RUNNER" ;;
esac
[ -x "$root/bin/caddy" ] || die 'bin/caddy is missing: run "make build" first'

WEBORDINARY_HTTP_PORT=${WEBORDINARY_HTTP_PORT:-8080}
WEBORDINARY_HTTPS_PORT=${WEBORDINARY_HTTPS_PORT:-8443}
WEBORDINARY_ADMIN=${WEBORDINARY_ADMIN:-localhost:2019}
WEBORDINARY_DATA=${WEBORDINARY_DATA:-$root/.data}
WEBORDINARY_API_UPSTREAM=${WEBORDINARY_API_UPSTREAM:-${API_UPSTREAM:-}}
mkdir -p -- "$WEBORDINARY_DATA"
WEBORDINARY_DATA=$(CDPATH='' cd -- "$WEBORDINARY_DATA" && pwd)
export WEBORDINARY_HTTP_PORT WEBORDINARY_HTTPS_PORT WEBORDINARY_ADMIN WEBORDINARY_DATA \
	WEBORDINARY_API_UPSTREAM WEBORDINARY_RUNNER


# Called from a Git hook, or by somebody who commits under another name, the
# environment would lead Git elsewhere.
for name in $(git rev-parse --local-env-vars) GIT_TEMPLATE_DIR \
	GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE \
	GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL GIT_COMMITTER_DATE; do
	unset "$name"
done

# Linux lets a second edge share the first one's ports, and each would get some of the
# requests.
if message=$(bin/caddy webordinary client list --links --wait 200ms 2>&1); then
	die "an edge with this data folder is running already"
fi
case $message in
*'works on other data'* | *'is something else'*)
	die "another server answers at $WEBORDINARY_ADMIN: end it, or set WEBORDINARY_ADMIN, WEBORDINARY_HTTP_PORT and WEBORDINARY_HTTPS_PORT"
	;;
esac

for client in amelia bramble; do
	make_repository "$client"
	add_client "$client"
done

# The edge takes this shell's place and keeps its process id. The announcer is
# nobody's child, so that the edge is not left with a zombie.
(announce $$ &)
exec bin/caddy run --config Caddyfile --adapter caddyfile
