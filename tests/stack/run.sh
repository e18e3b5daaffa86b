#!/usr/bin/env bash
# Starts PostgreSQL and Apache Kafka on loopback, in a directory of their own, runs a command with their addresses in
# LIVE_POSTGRES and LIVE_KAFKA, and stops them again.
#
#   tests/stack/run.sh COMMAND [ARGUMENT...]
#
# Needs PostgreSQL's programs (Debian: postgresql), Java 17 or newer, and Maven for Kafka's jars (fetched once into
# target/stack). PG_PORT and KAFKA_PORT choose other ports; STACK_LOGS=dir keeps the servers' logs there.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
pg_port=${PG_PORT:-15432}
kafka_port=${KAFKA_PORT:-19092}
jars=$top/target/stack/kafka-jars
work=$(mktemp -d "${TMPDIR:-/tmp}/order-system-stack.XXXXXX")
kafka_pid=

say() { echo "stack: $*" >&2; }
die() { say "$*"; exit 1; }
port_is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# PostgreSQL refuses to run as root.
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

stop() {
  if [ -n "$kafka_pid" ]; then kill "$kafka_pid" 2>/dev/null || true; wait "$kafka_pid" 2>/dev/null || true; fi
  if [ -f "$work/postgres/data/postmaster.pid" ]; then
    as_postgres "$pg_bin/pg_ctl" -D "$work/postgres/data" -m immediate -s stop || true
  fi
  if [ -n "${STACK_LOGS:-}" ]; then mkdir -p "$STACK_LOGS"; cp "$work"/*.log "$work"/postgres/*.log "$STACK_LOGS" || true; fi
  rm -rf "$work"
}
trap stop EXIT

[ $# -gt 0 ] || die "usage: $0 COMMAND [ARGUMENT...]"
for port in "$pg_port" "$kafka_port"; do
  if port_is_open "$port"; then die "port $port is in use; set PG_PORT or KAFKA_PORT"; fi
done
pg_bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -n "$pg_bin" ] || pg_bin=$(dirname "$(command -v initdb || die 'PostgreSQL is missing: apt-get install postgresql')")

if [ ! -d "$jars" ]; then
  say "fetching Kafka's jars"
  mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$jars.part"
  mv "$jars.part" "$jars"
fi

say "starting PostgreSQL on 127.0.0.1:$pg_port"
chmod 755 "$work"
mkdir "$work/postgres"
if [ "$(id -u)" = 0 ]; then chown postgres "$work/postgres"; fi
as_postgres "$pg_bin/initdb" -D "$work/postgres/data" -U postgres -A trust -E UTF8 >"$work/initdb.log"
as_postgres "$pg_bin/pg_ctl" -D "$work/postgres/data" -l "$work/postgres/postgres.log" -s -w \
  -o "-c listen_addresses=127.0.0.1 -c port=$pg_port -c unix_socket_directories=$work/postgres -c max_connections=300" start

say "starting Kafka on 127.0.0.1:$kafka_port"
controller_port=$((kafka_port + 1))
cat >"$work/kafka.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=PLAINTEXT://127.0.0.1:$kafka_port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$kafka_port
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$work/kafka
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
PROPERTIES
cat >"$work/log4j2.properties" <<'PROPERTIES'
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = out
PROPERTIES
# On two cores that everything shares, the collector without threads of its own is the cheapest.
java=(java -Xms256m -Xmx768m -XX:+UseSerialGC -Dlog4j2.configurationFile="file:$work/log4j2.properties" -cp "$jars/*")
"${java[@]}" kafka.tools.StorageTool format --cluster-id 5L6g3nShT-eMCtK--X86sw -c "$work/kafka.properties" >"$work/kafka-format.log" 2>&1
"${java[@]}" kafka.Kafka "$work/kafka.properties" >"$work/kafka.log" 2>&1 &
kafka_pid=$!
for _ in $(seq 300); do
  if port_is_open "$kafka_port"; then break; fi
  kill -0 "$kafka_pid" 2>/dev/null || { cat "$work/kafka.log" >&2; die "Kafka ended"; }
  sleep 0.2
done
port_is_open "$kafka_port" || die "Kafka did not start within a minute"

say "ready"
status=0
LIVE_POSTGRES=postgres://postgres@127.0.0.1:$pg_port LIVE_KAFKA=127.0.0.1:$kafka_port "$@" || status=$?
say "stopping"
exit $status
