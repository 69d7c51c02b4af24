#!/usr/bin/env bash
# Fetches the real programs and schemas that the tests compare Pitcrew with into target/peers.
# Touches nothing outside that folder: Debian packages are downloaded and unpacked, not installed.
set -euo pipefail
cd "$(dirname "$0")/.."
peers=$PWD/target/peers
packages="prometheus prometheus-alertmanager prometheus-node-exporter"
openapi=@octokit/openapi@23.0.2

need() { # need PROGRAM: what provides it
  command -v "$1" >/dev/null || { echo "make test needs $1: install $2" >&2; exit 1; }
}
need apt-get "a Debian system, or put the programs of '$packages' into $peers/usr/bin yourself"
need dpkg-deb "Debian's dpkg"
need npm "Node.js with npm (Debian: apt-get install npm)"

if [ ! -x "$peers/usr/bin/prometheus" ]; then
  work=$(mktemp -d "${TMPDIR:-/tmp}/peers.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/lists/partial" "$work/archives/partial"
  # An own list folder: no root, and the machine's package state stays as it is.
  options=(-qq -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work" -o APT::Sandbox::User="")
  apt-get "${options[@]}" update
  (cd "$work" && apt-get "${options[@]}" download $packages)
  mkdir -p "$peers"
  for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/root"; done
  cp -a "$work/root/." "$peers/"
fi

if [ ! -s "$peers/api.github.com.json" ]; then
  mkdir -p "$peers/npm"
  (cd "$peers/npm" && npm pack --ignore-scripts --silent "$openapi" >/dev/null)
  tar -xzf "$peers"/npm/octokit-openapi-*.tgz -C "$peers/npm" package/generated/api.github.com.json
  mv "$peers/npm/package/generated/api.github.com.json" "$peers/api.github.com.json.part"
  mv "$peers/api.github.com.json.part" "$peers/api.github.com.json"
  rm -rf "$peers/npm"
fi

for program in prometheus promtool prometheus-alertmanager amtool prometheus-node-exporter; do
  [ -x "$peers/usr/bin/$program" ] || { echo "$peers/usr/bin/$program is missing: delete $peers and run this again" >&2; exit 1; }
done
