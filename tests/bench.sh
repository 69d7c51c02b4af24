#!/usr/bin/env bash
# Prints the figures of BENCHMARKS.md, one table per topic: those that are named, or all; `make bench`
# builds what they measure.
set -euo pipefail
cd "$(dirname "$0")/.."

exporter() {
    echo "## Exporter: one scrape of a host"
    cargo run --quiet --locked -p pitcrew-tests --bin bench-exporter
}
redis() {
    echo "## Queues in Redis beside prometheus-redis-exporter"
    cargo run --quiet --locked -p pitcrew-tests --bin bench-redis
}
webhooks() {
    echo "## Webhooks taken, and what they told restored"
    cargo run --quiet --release --locked -p pitcrew-tests --bin bench-webhooks
}
workflows() {
    echo "## What GitHub told: rebuilding it, and a page of it"
    cargo run --quiet --release --locked -p pitcrew-tests --bin bench-workflows
}
engine() {
    echo "## The metrics engine beside Prometheus"
    cargo run --quiet --release --locked -p pitcrew-tests --bin bench-engine
}
alerts() {
    echo "## Alerts beside Prometheus and Alertmanager"
    cargo run --quiet --release --locked -p pitcrew-tests --bin bench-alerts
}

[ $# -gt 0 ] || set -- exporter redis webhooks workflows engine alerts
for topic in "$@"; do
    case "$topic" in
    exporter | redis | webhooks | workflows | engine | alerts) "$topic" ;;
    *) echo "no topic of that name: $topic" >&2; exit 2 ;;
    esac
done
