# make build   bin/caddy and bin/containerboot
# make run     the edge with two clients' sites, in the foreground; Ctrl-C ends it;
#              RUNNER=docker: with their containers on a Docker Engine
# make image   the image of those containers, from the Dockerfile
# make test    every test, end to end too; installs what they need
# make torture what repeats hundreds of times, in full
# make bench   the cost of the proxy and of many sessions, in calls to the store too,
#              the wake times, how soon containerboot listens, and how soon it serves a
#              site beside doing that by hand
# make e2e     the end-to-end tests alone
# make fuzz    each fuzz test for FUZZTIME (30s)
# make lint    golangci-lint
# make fmt     formats the Go files
# make clean   removes what was built; the data folder stays

.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

include xcaddy.mk

FUZZTIME ?= 30s
GOLANGCI := $(GO) tool -modfile=tools/go.mod golangci-lint
PACKAGES  = $$($(GO) list ./... | grep -v -e /e2e -e /bench)
E2E       = ./e2e -- ./e2e/many -- ./e2e/docker

.PHONY: help
help:
	@sed -n '/^#/!q; s/^# //p' Makefile

.PHONY: build
build: bin/caddy bin/containerboot

.PHONY: run
run: build
	@exec sh examples/run.sh

.PHONY: image
image:
	docker build --tag webordinary-session .

# One after the other, so that the end-to-end tests measure the edge and not their neighbours.
.PHONY: test
test: build .cache/gotest needed
	@.cache/gotest -race -count=1 -timeout=30m -- $(PACKAGES) -- $(E2E)

# A browser for the end-to-end tests, Java for DynamoDB Local, which the tests install, and
# a Docker Engine with an image, without which they say what is missing.
.PHONY: needed
needed:
	@sh tools/need.sh chromium
	@sh tools/need.sh sshd openssh-server
	@sh tools/need.sh java default-jre-headless
	@docker version >/dev/null 2>&1 || \
		{ sh tools/need.sh dockerd docker.io && sh tools/testimage.sh >/dev/null; } || [ "$$CI" != true ]

.PHONY: e2e
e2e: build .cache/gotest needed
	@.cache/gotest -race -count=1 -timeout=30m $(if $(RUN),-run='$(RUN)') -- $(E2E)

.PHONY: torture
torture: build .cache/gotest needed
	@TORTURE=1 .cache/gotest -race -count=1 -timeout=60m $(if $(RUN),-run='$(RUN)') -- ./e2e -- ./e2e/many -- ./sessions/... -- ./containerboot ./containerboot/site

.PHONY: bench
bench: build needed
	@$(GO) test -run='^$$' -bench=. -benchtime=1x -timeout=30m ./bench
	@$(GO) test -run='^$$' -bench=ManySessions -benchtime=1x -timeout=30m ./sessions
	@$(GO) test -run='^$$' -bench=Start -benchtime=1x ./cmd/containerboot
	@$(GO) test -run='^$$' -bench=Reaper -benchtime=1x -timeout=30m ./sessions/dynamodb

.PHONY: fuzz
fuzz:
	@set -e; grep -rl --include='*_test.go' '^func Fuzz' $(SOURCE_DIRS) | while read -r file; do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$$file"); do \
			echo "$$name ($$file)"; \
			$(GO) test -run='^$$' -fuzz="^$$name\$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=1s "./$$(dirname "$$file")" </dev/null; \
		done; \
	done

.PHONY: lint
lint:
	@$(GOLANGCI) run ./...

.PHONY: fmt
fmt:
	@$(GOLANGCI) fmt

.PHONY: clean
clean:
	rm -rf bin .cache

.cache/gotest: tools/gotest/main.go tools/go.mod
	@mkdir -p $(@D)
	@$(GO) -C tools build -o ../$@ ./gotest
