# Needs Go and make, and a C compiler for the race detector of "make test".

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || cat VERSION 2>/dev/null || echo devel)
FUZZTIME  ?= 1m
LIMITER_RUNS ?= 5000
BENCHTIME ?= 1s
PACKAGES  ?= ./...

# Tests of the proxy that take long, and have little to do with how sockets are waited for.
LENGTHY = 'Corpus|OwnAnswers|LargeBodies|BodiesOfEverySize|Slowloris|Renegotiation'

# Run with the module's Go; newer rules come with a change of this line only.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.DEFAULT_GOAL := help
.PHONY: help build cluster test check-format lint chaos bench bench-admin microbench fuzz corpus h2spec pgo clean

help:
	@echo 'make build     bin/sluice, one static binary'
	@echo 'make cluster   build, and run three nodes with a demo upstream; Ctrl-C stops all of it'
	@echo 'make test      go vet, gofmt, and every test with the race detector'
	@echo 'make lint      staticcheck'
	@echo 'make chaos     real nodes, faults and an independent count of admissions, about 5 minutes (CHAOSFLAGS=--help tells more)'
	@echo 'make bench     compare with nginx and haproxy, about 25 minutes (BENCHFLAGS=--help tells more)'
	@echo 'make bench-admin  the Admin API of three nodes: writes, reads, imports, snapshots, about 20 minutes (ADMINBENCHFLAGS=--help tells more)'
	@echo 'make microbench  every Go benchmark, with allocations (BENCHTIME=$(BENCHTIME), PACKAGES=$(PACKAGES))'
	@echo 'make fuzz      LIMITER_RUNS=$(LIMITER_RUNS) random runs of the limiter, and every fuzz target for FUZZTIME=$(FUZZTIME)'
	@echo 'make corpus    malformed requests and answers against sluice, nginx and haproxy; writes docs/corpus.md'
	@echo 'make h2spec    HTTP/2 conformance tests, over TLS and without'
	@echo 'make pgo       renew the profile that the compiler optimises for'
	@echo 'make clean     remove bin'

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/sluice ./cmd/sluice

# exec: Ctrl-C and SIGTERM go to sluice and not to a shell around it.
cluster: build
	@exec bin/sluice dev --nodes 3 --upstream

# Without cmd/sluice/default.pgo: with it, everything would be compiled twice more.
test: export GOFLAGS = -pgo=off
test: check-format
	go vet ./...
	go test -race -timeout 15m $(PACKAGES)
# Where io_uring is not to be had, as in most containers, it is epoll.
	SLUICE_TEST_EVENT_LOOP=epoll go test -race -skip $(LENGTHY) ./proxy ./proxy/upstream
	go test -run Allocates ./proxy
	go test ./limiter/escrow

check-format:
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "gofmt has changes for:" $$files; exit 1; fi

lint: check-format
	go vet ./...
	go run $(STATICCHECK) ./...

# Its own binary: with the tag, a node's clock can be set. exec as for bench.
chaos:
	@CGO_ENABLED=0 go build -trimpath -pgo=off -tags chaos -ldflags '-X main.version=$(VERSION)' -o bin/sluice-chaos ./cmd/sluice
	@go build -o bin/chaos ./scripts/chaos && exec bin/chaos $(CHAOSFLAGS)

# exec: Ctrl-C goes to the benchmark alone, which stops what it started.
bench: build
	@go build -o bin/bench ./scripts/bench && exec bin/bench $(BENCHFLAGS)

# exec as for bench.
bench-admin: build
	@go build -o bin/adminbench ./scripts/adminbench && exec bin/adminbench $(ADMINBENCHFLAGS)

microbench:
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(PACKAGES)

fuzz:
	LIMITER_RUNS=$(LIMITER_RUNS) go test -v -count=1 -timeout 2h -run 'TestChaos$$' ./limiter/escrow
	@set -e; for pkg in $$(go list $(PACKAGES)); do \
	  targets=$$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); \
	  for target in $$targets; do \
	    echo "$$pkg $$target"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

corpus: build
	go run ./scripts/corpus

h2spec: build
	go run ./scripts/h2spec

# The profile that the compiler optimises for (cmd/sluice/default.pgo), made by
# running the benchmarks' loads. To be renewed when the request path has changed.
pgo:
	CGO_ENABLED=0 go build -tags profile -pgo=off -trimpath -o bin/sluice-profile ./cmd/sluice
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	  CPU_PROFILE_DIR=$$dir go run ./scripts/bench -sluice bin/sluice-profile -only small,plugins,large,post,tls,h2 -rounds 2 -duration 3s >/dev/null && \
	  go tool pprof -proto $$dir/*.pprof > cmd/sluice/default.pgo
	@rm -f bin/sluice-profile

clean:
	rm -rf bin
