#!/usr/bin/env bash
# Measures, in one go on one machine: PostgreSQL's floor with pgbench, the system on PostgreSQL and Kafka, and the
# system on its embedded parts. Writes the figures, as ratios of the floor too, to docs/benchmarks.md.
#
#   tests/bench.sh [--runs 5] [--seconds 30] [--floor-seconds 60] [--orders-stored 5000000] [--out docs/benchmarks.md]
#
# Takes about half an hour, on loopback, and stops what it starts. Needs what tests/stack/run.sh needs, pgbench and
# pg_test_fsync (Debian: postgresql), and jq. --orders-stored 0 leaves the large tables out. Nothing else should run.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
runs=5 seconds=30 floor_seconds=60 stored=5000000 out=$top/docs/benchmarks.md
while [ $# -gt 0 ]; do
  case $1 in
    --runs) runs=$2 ;; --seconds) seconds=$2 ;; --floor-seconds) floor_seconds=$2 ;;
    --orders-stored) stored=$2 ;; --out) out=$2 ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift 2
done
for needed in jq pgbench psql; do command -v "$needed" >/dev/null || { echo "bench: $needed is missing" >&2; exit 1; }; done
if [ -z "${LIVE_POSTGRES:-}" ]; then
  cargo build --release --locked --manifest-path "$top/Cargo.toml" -p order-system
  exec "$top/tests/stack/run.sh" "$0" --runs "$runs" --seconds "$seconds" --floor-seconds "$floor_seconds" \
    --orders-stored "$stored" --out "$out"
fi

program=$(cd "$top" && cd "${CARGO_TARGET_DIR:-target}" && pwd)/release/order-system
work=$(mktemp -d "${TMPDIR:-/tmp}/order-system-bench.XXXXXX")
system=
stop() { if [ -n "$system" ]; then kill -TERM "$system" 2>/dev/null || true; wait "$system" 2>/dev/null || true; system=; fi; }
trap 'stop; rm -rf "$work"' EXIT
say() { echo "bench: $*" >&2; }
sql() { psql -qAtX -v ON_ERROR_STOP=1 "$LIVE_POSTGRES/$1" -c "$2"; }
median() { sort -g | awk '{a[NR]=$1} END {print NR % 2 ? a[(NR+1)/2] : (a[NR/2]+a[NR/2+1])/2}'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.2f", a / b}'; }
millis() { awk -v a="$1" 'BEGIN {printf "%.1f", a / 1000}'; }
resident() { awk '/^VmRSS/ {printf "%d", $2 / 1024}' "/proc/$1/status"; }
cpu() { awk '{print $14 + $15}' "/proc/$1/stat"; }

# one NAME ARGUMENT...: a measurement of the running system (or without --url, of an embedded one) into NAME.N.json
one() {
  local name=$1 n; shift
  n=$(find "$work" -name "$name.*.json" | wc -l)
  "$program" bench "$@" --json "$work/$name.$n.json" >"$work/last" 2>/dev/null || { cat "$work/last" >&2; exit 1; }
  say "$name: $(sed -n 's/.*: placed/placed/p' "$work/last")"
}
# of NAME PATH: the median over the measurements of that name
of() { jq -r "$2" "$work/$1".*.json | median; }

start() {
  "$program" "$@" >"$work/out" 2>"$work/err" &
  system=$!
  for _ in $(seq 300); do curl -sf "$url/health/ready" >/dev/null && return; sleep 0.1; done
  cat "$work/err" >&2; exit 1
}

url=http://127.0.0.1:18970
export HTTP_PORT=18970 RUST_LOG=warn
say "the floor"
sql postgres "CREATE DATABASE floor"
pgbench -q -i -s 50 "$LIVE_POSTGRES/floor" 2>/dev/null
floor=$(for _ in 1 2 3; do
  pgbench -N -M prepared -c 32 -j 2 -T $((floor_seconds / 3)) "$LIVE_POSTGRES/floor" 2>/dev/null | awk '/^tps/ {print $3}'
done | median)
sql postgres "DROP DATABASE floor"
fsync=$(d=$(dirname "$(readlink -f "$(command -v pg_test_fsync || ls /usr/lib/postgresql/*/bin/pg_test_fsync | tail -1)")")
  cd "$work" && "$d/pg_test_fsync" -s 1 -f "$work/fsync" 2>/dev/null | awk '/^ *fdatasync .*usecs/ {print $(NF-1); exit}')
say "pgbench: $floor transactions/s; fdatasync: $fsync µs"

say "PostgreSQL and Kafka"
for service in order payment inventory notification; do
  sql postgres "CREATE DATABASE bench_$service"
  export "$(echo $service | tr a-z A-Z)_DATABASE_URL=$LIVE_POSTGRES/bench_$service"
done
export KAFKA_BOOTSTRAP_SERVERS=$LIVE_KAFKA
start
idle_memory=$(resident $system)
# Until Kafka is compiled: its JVM takes a part of a core for it.
one warm --url $url --duration 60
for _ in $(seq "$runs"); do
  one spread --url $url --duration "$seconds"
  one hot --url $url --duration "$seconds" --products hot
done
full_memory=$(resident $system)
batches=$(curl -s $url/metrics | awk -F'[ "]' '/^journal_batch_size_(sum|count)/ {v[$2 (index($1, "sum") ? "s" : "c")] = $NF; n[$2]}
  END {for (s in n) printf "%s %.0f, ", s, v[s "s"] / v[s "c"]}' | sed 's/, $//')
for _ in $(seq "$runs"); do one idle --url $url --orders 1000 --concurrency 1; done
half=$(of spread '.ordersPerSecond.completed / 2 | floor')
for _ in $(seq "$runs"); do one half --url $url --duration "$seconds" --rate "$half"; done
few=$(sql bench_order "SELECT count(*) FROM orders")

many=
if [ "$stored" -gt 0 ]; then
  say "filling the tables up to $stored orders"
  # Copies of a confirmed order, a millisecond apart and older than all others, as their ids say.
  id="(lpad(to_hex(1600000000000 + i), 12, '0') || '7' || substr(md5(i::text), 1, 3) || '8' || substr(md5(i::text), 4, 15))::uuid"
  for table in order.orders payment.payments inventory.reservations notification.notices notification.notifications; do
    database=bench_${table%.*} name=${table#*.}
    columns=$(sql "$database" "SELECT string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)
      FROM information_schema.columns WHERE table_name = '$name' AND table_schema = 'public'")
    values=$(echo "$columns" | sed "s/\border_id\b/$id/; s/\bpayment_id\b/($id)::text/; s/\bnotification_id\b/$id/")
    sql "$database" "INSERT INTO $name ($columns) SELECT $values
      FROM (SELECT * FROM $name ORDER BY order_id DESC LIMIT 1) AS one, generate_series(1, $stored) AS i"
    sql "$database" "VACUUM ANALYZE $name"
  done
  sql postgres CHECKPOINT
  # What filled them is not to be written while it is measured.
  sync
  one refill --url $url --duration 15
  for _ in $(seq "$runs"); do one many --url $url --duration "$seconds"; done
  many=$(of many .ordersPerSecond.completed)
fi
stop

say "embedded"
sync
unset KAFKA_BOOTSTRAP_SERVERS ORDER_DATABASE_URL PAYMENT_DATABASE_URL INVENTORY_DATABASE_URL NOTIFICATION_DATABASE_URL
for _ in $(seq "$runs"); do one embedded --duration "$seconds"; done
for _ in $(seq "$runs"); do one embedded-idle --orders 1000 --concurrency 1; done
began=$(date +%s%N)
start --data-dir "$work/data"
ready=$((($(date +%s%N) - began) / 1000000))
sleep 10
before=$(cpu $system); sleep 20; after=$(cpu $system)
embedded_memory=$(resident $system)
stop

# What people wrote below the figures stays.
sed -n '/^## /,$p' "$out" >"$work/rest" 2>/dev/null || true
spread=$(of spread .ordersPerSecond.completed) hot=$(of hot .ordersPerSecond.completed)
embedded=$(of embedded .ordersPerSecond.completed)
latency() { echo "$(millis "$(of "$1" ".latencyMicros.$2.$3")")"; }
{
  cat <<PAGE
# Benchmarks

Written by \`tests/bench.sh\` on $(date -u +%F), from $(git -C "$top" rev-parse --short HEAD); run it to repeat them. Medians of $runs runs of
$seconds s. Everything (load, services, databases, broker) shares $(nproc) cores of $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(awk '/MemTotal/ {printf "%.0f", $2 / 1048576}' /proc/meminfo) GiB,
$(psql --version | awk '{print "PostgreSQL " $3}') with \`fsync\` and \`synchronous_commit\` on, \`backend_flush_after\` as in compose.yaml and its other settings as they come,
fdatasync $fsync µs. One cluster holds the four databases. Machines are noisy: read the ratios.

The floor, \`pgbench -N -M prepared -c 32 -j 2\` at scale 50: **$(awk -v a="$floor" 'BEGIN {printf "%.0f", a}') transactions/s**.

| | measured | wanted |
|---|---|---|
| PostgreSQL and Kafka, 512 orders in flight, all products | $spread orders/s = **$(ratio "$spread" "$floor")** of the floor | 0.20, aim 0.35 |
| the same, one product in every order | $hot orders/s = **$(ratio "$hot" "$spread")** of that | 0.8 |
| idle, POST to 202: p99 | $(latency idle accepted p99) ms | 15 ms |
| idle, POST to CONFIRMED: p50, p99 | $(latency idle confirmed p50), $(latency idle confirmed p99) ms | 20, 60 ms |
| $half orders/s (half of the most), POST to 202: p99 | $(latency half accepted p99) ms | 30 ms |
| the same, POST to CONFIRMED: p99 | $(latency half confirmed p99) ms | 250 ms |
| memory of all services in one process, idle and after full load | $idle_memory, $full_memory MiB | 150, 600 MiB |
| embedded, 512 orders in flight | $embedded orders/s | 3,000 |
| embedded and idle, POST to CONFIRMED: p50 | $(latency embedded-idle confirmed p50) ms | 10 ms |
| embedded, from the start of the program until it is ready | $ready ms | 2,000 ms |
| embedded, CPU while nothing happens | $(awk -v a=$((after - before)) -v hz="$(getconf CLK_TCK)" 'BEGIN {printf "%.1f", a * 100 / hz / 20}') % of a core | 1 % |
PAGE
  if [ -n "$many" ]; then
    echo "| cost of an order with $stored orders more stored, as a multiple of that with $few or fewer | **$(ratio "$spread" "$many")** | 1.2 |"
  fi
  echo
  echo "Orders per batch of the journal under full load: $batches. Embedded and idle, $embedded_memory MiB."
  echo
  cat "$work/rest"
} >"$work/page"
mv "$work/page" "$out"
say "written: $out"
