#!/usr/bin/env bash
# Fetches the real programs and schemas that the tests compare Pitcrew with into target/peers.
# Touches nothing outside that folder: Debian packages are downloaded and unpacked, not installed.
set -euo pipefail
cd "$(dirname "$0")/.."
peers=$PWD/target/peers
packages="prometheus prometheus-alertmanager prometheus-node-exporter"
systemd="systemd libsystemd-shared libapparmor1 libip4tc2 libkmod2 libseccomp2"
redis="redis-server redis-tools prometheus-redis-exporter liblzf1 libjemalloc2 liblua5.1-0 lua-bitop lua-cjson libatomic1"
mail="python3-aiosmtpd python3-attr python3-public"
openapi=@octokit/openapi@23.0.2
slack_types=@slack/types@3.2.0
typescript=typescript@5.9.3
webhooks_examples=@octokit/webhooks-examples@7.6.1
webhooks_schemas=@octokit/webhooks-schemas@7.6.1

need() { # need PROGRAM: what provides it
  command -v "$1" >/dev/null || { echo "make test needs $1: install $2" >&2; exit 1; }
}
need apt-get "a Debian system, or put the programs of '$packages' into $peers/usr/bin yourself"
need dpkg-deb "Debian's dpkg"
need python3 "Python 3 (Debian: apt-get install python3)"
need npm "Node.js with npm (Debian: apt-get install npm)"

work=$(mktemp -d "${TMPDIR:-/tmp}/peers.XXXXXX")
trap 'rm -rf "$work"' EXIT
# An own list folder: no root, and the machine's package state stays as it is.
options=(-qq -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work" -o APT::Sandbox::User="")

unpack() { # unpack FOLDER PACKAGE...: downloads the packages and unpacks them into a new folder
  local folder=$1
  shift
  if [ ! -d "$work/lists" ]; then
    mkdir -p "$work/lists/partial" "$work/archives/partial"
    apt-get "${options[@]}" update
  fi
  mkdir "$folder"
  (cd "$folder" && apt-get "${options[@]}" download "$@")
  for package in "$folder"/*.deb; do dpkg-deb -x "$package" "$folder"; done
  rm "$folder"/*.deb
}

if [ ! -x "$peers/usr/bin/prometheus" ]; then
  unpack "$work/prometheus" $packages
  mkdir -p "$peers"
  cp -a "$work/prometheus/." "$peers/"
fi

# Of systemd only what checks units: the program, the libraries that a small system lacks, and the
# units that others refer to.
if [ ! -x "$peers/systemd/systemd-analyze" ]; then
  unpack "$work/systemd" $systemd
  mkdir -p "$work/analyze/lib" "$peers"
  find "$work/systemd" \( -name '*.so' -o -name '*.so.*' \) -exec cp -a {} "$work/analyze/lib/" \;
  find "$work/systemd" -type d -path '*lib/systemd/system' -exec cp -a {} "$work/analyze/units" \;
  cp "$work/systemd/usr/bin/systemd-analyze" "$work/analyze/"
  LD_LIBRARY_PATH=$work/analyze/lib "$work/analyze/systemd-analyze" --version >/dev/null
  rm -rf "$peers/systemd"
  cp -a "$work/analyze" "$peers/systemd"
fi

# Redis is server and Sentinel in one program; what it needs beside it lies in its own folder.
if [ ! -x "$peers/redis/redis-server" ]; then
  unpack "$work/redis" $redis
  mkdir -p "$work/queues/lib" "$peers"
  find "$work/redis" -name '*.so.*' -exec cp -a {} "$work/queues/lib/" \;
  cp -L "$work"/redis/usr/bin/{redis-server,redis-cli,prometheus-redis-exporter} "$work/queues/"
  LD_LIBRARY_PATH=$work/queues/lib "$work/queues/redis-server" --version >/dev/null
  rm -rf "$peers/redis"
  cp -a "$work/queues" "$peers/redis"
fi

# A mail server that knows TLS and logins; tests/smtp_server.py starts it.
if [ ! -d "$peers/mail/aiosmtpd" ]; then
  unpack "$work/mail" $mail
  mkdir -p "$peers"
  rm -rf "$peers/mail"
  cp -a "$work/mail/usr/lib/python3/dist-packages" "$peers/mail"
fi

if [ ! -s "$peers/api.github.com.json" ]; then
  mkdir -p "$peers/npm"
  (cd "$peers/npm" && npm pack --ignore-scripts --silent "$openapi" >/dev/null)
  tar -xzf "$peers"/npm/octokit-openapi-*.tgz -C "$peers/npm" package/generated/api.github.com.json
  mv "$peers/npm/package/generated/api.github.com.json" "$peers/api.github.com.json.part"
  mv "$peers/api.github.com.json.part" "$peers/api.github.com.json"
  rm -rf "$peers/npm"
fi

npm_package() { # npm_package NAME PACKAGE: its files, as they are published, in $peers/NAME; no script of it runs
  [ -s "$peers/$1/package.json" ] && return
  mkdir "$work/$1"
  (cd "$work/$1" && npm pack --ignore-scripts --silent "$2" >/dev/null && tar -xzf ./*.tgz)
  rm -rf "${peers:?}/$1"
  mv "$work/$1/package" "$peers/$1"
}
npm_package slack-types "$slack_types"
npm_package typescript "$typescript"
npm_package webhooks-examples "$webhooks_examples"
npm_package webhooks-schemas "$webhooks_schemas"

for program in prometheus promtool prometheus-alertmanager amtool prometheus-node-exporter; do
  [ -x "$peers/usr/bin/$program" ] || { echo "$peers/usr/bin/$program is missing: delete $peers and run this again" >&2; exit 1; }
done
