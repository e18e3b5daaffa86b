#!/usr/bin/env bash
# Does something to a server of a stack that run.sh started, as faults do: for commands that run inside of it.
#
#   tests/stack/control.sh {postgres|kafka} {kill|start|freeze|thaw}
#
# kill ends every process of the server at once (SIGKILL), start brings it up on the data that are there and returns
# when it answers, freeze and thaw stop and continue every process of it. STACK_DIR names the stack; run.sh sets it.
set -euo pipefail

usage() { echo "usage: $0 {postgres|kafka} {kill|start|freeze|thaw}" >&2; exit 2; }
[ $# = 2 ] || usage
server=$1
action=$2
work=${STACK_DIR:?is not set: start this from a command of tests/stack/run.sh}
# PG_BIN, PG_PORT, KAFKA_PORT and KAFKA_JARS, as run.sh chose them.
# shellcheck source=/dev/null
. "$work/settings"

die() { echo "stack: $*" >&2; exit 1; }
port_is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# PostgreSQL refuses to run as root.
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

# Whether a process runs: one that has ended may still wait for somebody to ask how.
runs() { case $(ps -o stat= -p "$1" || true) in '' | Z*) return 1 ;; esac; }

# The server's first process, if it runs.
first() {
  case $server in
    postgres) file=$work/postgres/data/postmaster.pid ;;
    kafka) file=$work/kafka.pid ;;
  esac
  [ -f "$file" ] || return 0
  pid=$(head -n 1 "$file")
  if runs "$pid"; then echo "$pid"; fi
}

# Sends a signal to every process of the server: the first one first, so that it makes no more of them.
signal() {
  pid=$(first)
  [ -n "$pid" ] || return 0
  kill "-$1" "$pid" 2>/dev/null || true
  for child in $(pgrep -P "$pid" || true); do kill "-$1" "$child" 2>/dev/null || true; done
}

start_postgres() {
  # What an ended server's last processes still hold is free in a moment.
  for _ in $(seq 20); do
    if as_postgres "$PG_BIN/pg_ctl" -D "$work/postgres/data" -l "$work/postgres/postgres.log" -s -w -t 60 \
      -o "-c listen_addresses=127.0.0.1 -c port=$PG_PORT -c unix_socket_directories=$work/postgres -c max_connections=300 -c backend_flush_after=512kB" \
      start </dev/null >/dev/null 2>&1; then return; fi
    sleep 0.5
  done
  die "PostgreSQL did not start: $(tail -n 3 "$work/postgres/postgres.log")"
}

start_kafka() {
  # On two cores that everything shares, the collector without threads of its own is the cheapest.
  setsid java -Xms256m -Xmx768m -XX:+UseSerialGC -Dlog4j2.configurationFile="file:$work/log4j2.properties" \
    -cp "$KAFKA_JARS/*" kafka.Kafka "$work/kafka.properties" </dev/null >>"$work/kafka.log" 2>&1 &
  echo $! >"$work/kafka.pid"
  for _ in $(seq 300); do
    if port_is_open "$KAFKA_PORT"; then return; fi
    [ -n "$(first)" ] || die "Kafka ended: $(tail -n 20 "$work/kafka.log")"
    sleep 0.2
  done
  die "Kafka did not start within a minute"
}

case $server:$action in
  postgres:start | kafka:start) [ -n "$(first)" ] || "start_$server" ;;
  postgres:kill | kafka:kill)
    pid=$(first)
    signal KILL
    while [ -n "$pid" ] && runs "$pid"; do sleep 0.05; done
    ;;
  postgres:freeze | kafka:freeze) signal STOP ;;
  postgres:thaw | kafka:thaw) signal CONT ;;
  *) usage ;;
esac
