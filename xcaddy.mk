# Builds the custom Caddy with xcaddy from this working tree, at the versions of go.mod.
#
# xcaddy makes a module of its own which replaces ours by this folder, and asks the proxy
# for our module path all the same, though nothing is published under it. So what it needs
# is downloaded beforehand, checked against go.sum, and xcaddy sees the module cache alone.
# Once that is filled no network is needed.

GO            ?= go
CADDY_MODULE  := github.com/caddyserver/caddy/v2
CADDY_VERSION := $(shell sed -n 's|^.*$(CADDY_MODULE) \(v[^ ]*\).*|\1|p' go.mod)
CADDY_TAGS    := nobadger,nomysql,nopgx
MODULE        := github.com/webordinary/router

# "unknown" where there is no git, no repository, or one of another user.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# What the binaries are made of: every file of these folders (pages and the like are
# embedded) but tests.
SOURCE_DIRS := $(wildcard caddymodule certstore cmd configstore containerboot edge pages runner sessions)
SOURCES     := go.mod go.sum xcaddy.mk \
	$(shell find $(SOURCE_DIRS) -type f ! -name '*_test.go' ! -name '.*' ! -path '*/testdata/*' ! -path '*/node_modules/*')

# The list itself, rewritten only where it differs, so that a removed file or a new
# version makes the binaries stale too.
.cache/inputs: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(VERSION)' $(sort $(SOURCES)) | cmp -s - $@ || \
		printf '%s\n' '$(VERSION)' $(sort $(SOURCES)) >$@

FORCE:
.PHONY: FORCE

# CACHED before a go command keeps it from the network.
CACHED = GOPROXY="file://$$($(GO) env GOMODCACHE)/cache/download" GOSUMDB=off

# xcaddy's first step is to require Caddy and nothing else, at the versions that Caddy
# itself asks for. Where go.mod asks for newer ones, those are not in the cache yet.
.PHONY: .cache/caddy-alone
.cache/caddy-alone:
	@rm -rf $@ && mkdir -p $@
	@cd $@ && $(GO) mod init alone 2>/dev/null && \
		{ $(CACHED) $(GO) get $(CADDY_MODULE)@$(CADDY_VERSION) || $(GO) get $(CADDY_MODULE)@$(CADDY_VERSION); } >get.log 2>&1 || \
		{ cat get.log >&2; exit 1; }

bin/caddy: $(SOURCES) .cache/inputs
	@echo 'building $@ $(VERSION) (the first time takes some minutes)'
	@mkdir -p $(@D)
	@$(GO) mod download
	@$(MAKE) .cache/caddy-alone
	@$(CACHED) XCADDY_PRINT_VERSION=0 \
		XCADDY_GO_BUILD_FLAGS="-trimpath -tags $(CADDY_TAGS) -ldflags '-s -w -X $(CADDY_MODULE).CustomVersion=$(VERSION)'" \
		$(GO) tool xcaddy build $(CADDY_VERSION) \
			--with $(MODULE)/caddymodule --replace $(MODULE)=. --output $@.new >.cache/xcaddy.log 2>&1 || \
		{ tail -n 40 .cache/xcaddy.log >&2; rm -f $@.new; exit 1; }
	@mv -f $@.new $@

bin/containerboot: $(SOURCES) .cache/inputs
	@echo 'building $@ $(VERSION)'
	@mkdir -p $(@D)
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $@.new ./cmd/containerboot
	@mv -f $@.new $@
