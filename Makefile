# make test needs Go and nothing else; make interop installs Debian's mail
# programs and lets them talk to ours.
GO ?= go
# The race detector needs a C compiler.
RACE := $(shell command -v $${CC:-cc} >/dev/null 2>&1 && echo -race)

.PHONY: build test check interop chaos differential fuzz docs sbom vulnerabilities stress-mailbox

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o hoplite ./cmd/hoplite

test: check
	$(if $(RACE),,@echo "skipped: the race detector (no C compiler found)")
	@echo "skipped here: tests that need Debian's mail programs (make interop)"
	$(GO) test $(RACE) -timeout 15m ./...

check:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

# The tests that mostly wait run beside the others.
LONG = ./test/chaos ./test/trust
interop:
	sh test/interop/install
	$(GO) vet -tags interop ./...
	@status=0; out=$$(mktemp); \
	$(GO) test -tags interop -run Interop -v -p 1 -timeout 30m $(LONG) >$$out 2>&1 & long=$$!; \
	$(GO) test -tags interop -run Interop -p 1 -timeout 30m \
		$$(git grep -l '^//go:build interop' -- '*_test.go' | xargs -n1 dirname | sort -u | sed 's|^|./|' | grep -vxF "$$(printf '%s\n' $(LONG))") || status=1; \
	wait $$long || status=1; cat $$out; rm -f $$out; exit $$status

# The server under load while everything fails, for longer than make interop has
# time for, and power cuts at each system call of a first start; needs root.
CHAOSTIME ?= 10m
chaos:
	sh test/interop/install
	CHAOSTIME=$(CHAOSTIME) $(GO) test -tags interop -run Interop -count=1 -v -timeout 0 ./test/chaos

# 5,000 messages judged by our SPF, DKIM, ARC and DMARC and by those of others.
MESSAGES ?= 5000
differential:
	sh test/interop/install
	MESSAGES=$(MESSAGES) $(GO) test -tags interop -run Interop -count=1 -v -timeout 0 ./test/trust

# FUZZTIME seconds for each target, one after the other.
FUZZTIME ?= 30s
fuzz:
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$p || exit 1; \
		done; \
	done

# Ten clients on one mailbox through Hoplite and Dovecot, which are killed in
# between. make interop does the same for a minute.
HOPLITE_STRESS ?= 10m
stress-mailbox:
	HOPLITE_STRESS=$(HOPLITE_STRESS) $(GO) test -tags interop -run TestInteropMailboxStress -count 1 -timeout 60m -v ./test

docs:
	$(GO) generate ./...

# The modules of the program with their versions and checksums, from the program
# itself: what is not linked is not listed.
sbom:
	@$(MAKE) -s build
	@$(GO) version -m hoplite | awk '$$1 == "mod" || $$1 == "dep" { print $$2, $$3, $$4 }'

# Known vulnerabilities in code that the program calls. Nothing happens where the
# database or the tool cannot be reached. VULNDB may be a copy: file:///path.
VULNDB ?= https://vuln.go.dev
vulnerabilities:
	@case '$(VULNDB)' in http*) curl -sf -m 10 -o /dev/null '$(VULNDB)/index/db.json' || exit 0;; esac; \
	dir=$$(mktemp -d); trap 'rm -rf '$$dir EXIT; \
	GOBIN=$$dir $(GO) install golang.org/x/vuln/cmd/govulncheck@v1.1.4 2>/dev/null || exit 0; \
	$$dir/govulncheck -db '$(VULNDB)' ./cmd/hoplite
