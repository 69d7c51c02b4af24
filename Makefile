# Thin: each target is a few lines; the work is in the programs and tests.
.PHONY: up demo test check programs peers sweep bench dist fuzz
SHELL := /bin/bash
CARGO ?= cargo

up: ## Pitcrew on this host, without configuration
	$(CARGO) run --release --locked -p pitcrew-alertd -- up

demo: ## a simulated fleet, a fault, the failover before your eyes
	$(CARGO) build --locked --workspace
	$(CARGO) run --locked -p pitcrew-tests --bin demo

test: peers check programs ## everything: formatting, lints, unit and integration tests
	$(CARGO) test --locked --workspace --no-fail-fast

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

programs:
	$(CARGO) build --locked --workspace

peers: ## the real programs that tests compare with, into target/peers
	tests/peers.sh

sweep: peers programs ## the long form of the crash tests and of random queries
	PITCREW_SWEEP=200 $(CARGO) test --locked -p pitcrew-tests --test it crash -- --nocapture
	PITCREW_SWEEP=500 $(CARGO) test --locked -p pitcrew-tests --test it kills -- --nocapture
	PITCREW_SWEEP=300 $(CARGO) test --locked -p pitcrew-tests --test it storm::killed -- --nocapture
	PITCREW_SWEEP=100 $(CARGO) test --locked -p pitcrew-tests --test it webhooks::kills -- --nocapture
	PITCREW_SWEEP=1 $(CARGO) test --locked -p pitcrew-exporter --lib plan::day -- --nocapture
	PITCREW_SWEEP=1000000 $(CARGO) test --locked -p pitcrew-tests --test it storm::silences -- --nocapture
	PITCREW_DIFFERENTIAL=$$RANDOM,$$RANDOM,25000 \
		$(CARGO) test --locked -p pitcrew-tests --test it differential -- --nocapture
	PITCREW_LEDGER=10000 $(CARGO) test --locked -p pitcrew-tests --test it queue_times -- --nocapture

fuzz: ## every fuzz target, ten minutes each; FUZZ_SECONDS says otherwise
	tests/fuzz/run.sh

bench: peers ## figures beside the peers, for BENCHMARKS.md
	$(CARGO) build --release --locked -p pitcrew-exporter -p pitcrew-alertd
	tests/bench.sh

dist: ## release binaries, rules, dashboards and units in one archive
	$(CARGO) build --release --locked -p pitcrew-exporter -p pitcrew-alertd
	tar -czf target/pitcrew.tar.gz --owner=0 --group=0 --transform='s,^,pitcrew/,' README.md LICENSE CHANGELOG.md \
		rules runbooks dashboards deploy -C target/release pitcrew-exporter pitcrew-alertd
