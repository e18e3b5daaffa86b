#!/usr/bin/env bash
# Runs the system on real PostgreSQL and Kafka, under load, while things are done to it; then checks the books.
#
#   tests/chaos.sh [--seconds 60] [--seed N] [--replicas 1..3] [--scenario NAME] [--report FILE] [...]
#
# --help says more, and so does docs/chaos.md. Everything listens on loopback only, and stops by itself. PG_PORT,
# KAFKA_PORT and --http-port choose other ports. CARGO_TARGET_DIR is heeded.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
programs=$(cd "$top" && mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)/release
cargo build --release --locked --manifest-path "$top/Cargo.toml" --bins --features e2e/live -p e2e \
  -p order-service -p payment-service -p inventory-service -p notification-service \
  -p payment-sandbox
case " $* " in *' --help '* | *' -h '* | *' --version '*) exec "$programs/chaos" "$@" ;; esac
exec "$top/tests/stack/run.sh" "$programs/chaos" "$@"
