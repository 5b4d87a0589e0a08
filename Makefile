# Every target is one command that could be typed as well.

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
BENCHSTAT   ?= golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
FUZZTIME    ?= 30s
COUNT       ?= 10

export CGO_ENABLED ?= 0

.PHONY: build test race e2e fuzz bench bench-runner benchcmp generate update lint check interop interop-editor interop-browser campaign clean

build: ## one static binary
	$(GO) build -trimpath -o bin/pipe ./cmd/pipe

test: ## everything but races, fuzzing and benchmarks
	$(GO) test ./...

race: ## the concurrent parts under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race ./cache ./pipeline/... ./stages/command ./runtime/generate -short

e2e: ## the scripts in cmd/pipe/testdata/script
	$(GO) test ./cmd/pipe -run TestScripts -count=1 -v

fuzz: ## every fuzz target for FUZZTIME
	@set -e; $(GO) list ./... | while read -r pkg; do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; $(GO) test $$pkg -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x; \
	  done; done

bench: ## figures, written to bench/new.txt
	@mkdir -p bench
	$(GO) test -run '^$$' -bench . -benchmem -count=$(COUNT) -timeout 2h ./... | tee bench/new.txt

bench-runner: build ## the runner beside ninja, make, DVC and Snakemake, those that are installed; written to docs/speed.md
	$(GO) run ./internal/speedtest -pipe bin/pipe -o docs/speed.md

benchcmp: ## bench/old.txt against bench/new.txt
	$(GO) run $(BENCHSTAT) bench/old.txt bench/new.txt

generate: ## assembly, stage docs, schema and the README's drawing
	$(GO) generate ./...
	$(GO) test ./stages/builtin -run TestDocsAreFresh -count=1 -update

update: ## golden files and scripts; read the diff
	$(GO) test ./cache ./pipeline ./pipeline/drawing ./stages/... ./cmd/pipe -update

lint:
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

check: lint test ## what CI runs: lint, test, nothing stale
	$(MAKE) generate
	$(GO) mod tidy
	git diff --exit-code

interop: interop-editor interop-browser ## against the real schedulers and Python libraries, in a virtual environment of its own
	./internal/interop/schedulers
	./internal/interop/run

interop-editor: ## the schema in the real YAML language server (needs Node.js)
	./internal/interop/run-editor

interop-browser: ## the page of pipe graph in a real Chromium (skipped where there is none)
	./internal/interop/run-browser

campaign: ## every fault, kill, power cut and damage: at most 40 minutes; called again it goes on
	$(GO) test ./internal/faultfs/faulttest -run '^TestCampaign$$' -count=1 -timeout 60m -v -campaign $(CURDIR)/bin/campaign.json -figures $(CURDIR)/docs/reliability.md

clean:
	rm -rf bin bench
