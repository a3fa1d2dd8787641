GO ?= go

.PHONY: build test interop docs

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o hoplite ./cmd/hoplite
