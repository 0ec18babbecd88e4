#!/bin/sh
# versions.sh: fails unless bin/caddy, which xcaddy built, holds the very module versions
# that go.mod gives to cmd/caddy, so that what the tests ran is what is shipped.
set -eu
cd "$(dirname "$0")/.."
mkdir -p .cache

go build -tags nobadger,nomysql,nopgx -o .cache/caddy-test ./cmd/caddy
for binary in bin/caddy .cache/caddy-test; do
	# The lines "dep <module> <version>" without our own module, which has no version.
	go version -m "$binary" | awk '$1 == "dep" && $2 != "github.com/webordinary/router" { print $2, $3 }' |
		sort >.cache/versions-"$(basename "$binary")"
done
diff -u .cache/versions-caddy .cache/versions-caddy-test && [ -s .cache/versions-caddy ]
echo "$(wc -l <.cache/versions-caddy) modules agree"
