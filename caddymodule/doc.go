// Package caddymodule is the router as Caddy modules, and the only package that
// imports Caddy: thin adapters over configstore, sessions, edge and pages.
//
//	webordinary                                 the app: one config store, one registry, one runner
//	webordinary.config_stores.embedded          guest of the app, as are
//	webordinary.registries.embedded
//	webordinary.runners.process
//	http.handlers.webordinary_router            the directive webordinary_router
//	http.reverse_proxy.upstreams.webordinary    hands a session's container to reverse_proxy
//	http.reverse_proxy.transport.webordinary    adds the token, pools connections by epoch
//	tls.permission.webordinary                  may this host have a certificate?
//	admin.api.webordinary                       what the CLI asks of a running edge
//
// It also registers the command `caddy webordinary`.
package caddymodule
