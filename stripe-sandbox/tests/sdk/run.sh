#!/bin/sh
# Checks the sandbox with Stripe's own SDKs, unchanged: python `stripe` and npm `stripe`.
# Needs cargo, python3 with venv, node and npm; the packages go to a temporary folder.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'kill "$sandbox" 2>/dev/null || true; rm -rf "$work"' EXIT
sandbox=

cargo build --quiet --manifest-path "$here/../../Cargo.toml" --bin stripe-sandbox
target=$(cargo metadata --manifest-path "$here/../../Cargo.toml" --format-version 1 --no-deps |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
"$target/debug/stripe-sandbox" --listen 127.0.0.1:0 --file "$work/account.jsonl" 2>"$work/log" &
sandbox=$!
until url=$(sed -n 's/.*listens on \(http[^ ]*\).*/\1/p' "$work/log") && [ -n "$url" ]; do
    kill -0 "$sandbox" || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check stripe==16.1.0
"$work/venv/bin/python" "$here/check.py" "$url"

npm install --silent --no-audit --no-fund --prefix "$work" stripe@23.1.0
NODE_PATH="$work/node_modules" node "$here/check.cjs" "$url"
