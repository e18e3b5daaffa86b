#!/usr/bin/env bash
# Starts PostgreSQL and Apache Kafka on loopback, in a directory of their own, runs a command with their addresses in
# LIVE_POSTGRES and LIVE_KAFKA, and stops them again. The command can do things to them with control.sh, beside this
# file, which finds them by STACK_DIR.
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
control() { STACK_DIR=$work "$here/control.sh" "$@"; }

say() { echo "stack: $*" >&2; }
die() { say "$*"; exit 1; }
port_is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# PostgreSQL refuses to run as root.
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

stop() {
  # Whatever state the command left them in; nobody needs their data any more.
  if [ -f "$work/settings" ]; then control kafka kill || true; control postgres kill || true; fi
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
cat >"$work/settings" <<SETTINGS
PG_BIN=$pg_bin
PG_PORT=$pg_port
KAFKA_PORT=$kafka_port
KAFKA_JARS=$jars
SETTINGS
as_postgres "$pg_bin/initdb" -D "$work/postgres/data" -U postgres -A trust -E UTF8 >"$work/initdb.log"
control postgres start

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
# The time at which the broker had a record: what order across topics is judged by.
log.message.timestamp.type=LogAppendTime
PROPERTIES
cat >"$work/log4j2.properties" <<'PROPERTIES'
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = out
PROPERTIES
java -cp "$jars/*" -Dlog4j2.configurationFile="file:$work/log4j2.properties" kafka.tools.StorageTool format \
  --cluster-id 5L6g3nShT-eMCtK--X86sw -c "$work/kafka.properties" >"$work/kafka-format.log" 2>&1
control kafka start

say "ready"
status=0
STACK_DIR=$work LIVE_POSTGRES=postgres://postgres@127.0.0.1:$pg_port LIVE_KAFKA=127.0.0.1:$kafka_port "$@" || status=$?
say "stopping"
exit $status
