//go:build !linux

package caddymodule

import (
	"context"
	"net/http"

	"github.com/caddyserver/caddy/v2"
)

// rememberConns does nothing here: untilHangup needs no connection.
func rememberConns(caddy.Context) {}

// untilHangup returns a context that ends with the request's. Where a held request has a
// body, a visitor who leaves is noticed only when the hold ends.
func untilHangup(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithCancel(r.Context())
}
