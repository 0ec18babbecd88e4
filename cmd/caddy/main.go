// Command caddy is the edge as xcaddy builds it, for tests, -race and coverage.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/webordinary/router/caddymodule"
)

func main() { caddycmd.Main() }
