#!/usr/bin/env bash
# Runs every fuzz target, or those named, for FUZZ_SECONDS each; what is found lies in target/fuzz.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
# The store syncs what it writes, which waits for a disk.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm
seconds=${FUZZ_SECONDS:-600}
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(basename -s .rs tests/fuzz/targets/*.rs)
for target in "${targets[@]}"; do
  corpus=target/fuzz/corpus/$target
  mkdir -p "$corpus" "target/fuzz/found/$target"
  echo "== $target: $seconds s"
  # The code has no `unsafe` of its own: coverage guides, no sanitizer slows down.
  RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz -s none \
    "$target" "$corpus" "tests/fuzz/seeds/$target" -- \
    -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=65536 \
    -print_final_stats=1 -artifact_prefix="target/fuzz/found/$target/"
done
