#!/usr/bin/env bash
# Prints the figures of BENCHMARKS.md, one table per topic; `make bench` builds what it measures.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "## Exporter: one scrape of a host"
cargo run --quiet --locked -p pitcrew-tests --bin bench-exporter
echo "## Queues in Redis beside prometheus-redis-exporter"
cargo run --quiet --locked -p pitcrew-tests --bin bench-redis
echo "## The metrics engine beside Prometheus"
cargo run --quiet --release --locked -p pitcrew-tests --bin bench-engine
echo "## Alerts beside Prometheus and Alertmanager"
cargo run --quiet --release --locked -p pitcrew-tests --bin bench-alerts
