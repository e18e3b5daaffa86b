#!/usr/bin/env bash
# Prometheus' settings and rules with their tests, the Grafana dashboard, and the names of the metrics in both.
#
#   tests/monitoring.sh                         needs promtool, of Debian's package prometheus, and python3-yaml
#   tests/monitoring.sh http://localhost:8080   and the metrics of a running system: this port and the next three
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top/docs/monitoring"

for config in prometheus.yml prometheus-local.yml; do
    promtool check config "$config"
done
promtool test rules alerts.test.yml

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ $# -gt 0 ]; then
    host=${1%/} port=${1##*:}
    for i in 0 1 2 3; do
        url="${host%:*}:$((${port%/} + i))/metrics"
        echo "Checking $url"
        curl -sSf "$url" >"$work/$i.txt"
        promtool check metrics <"$work/$i.txt"
    done
fi

python3 "$top/tests/monitoring.py" "$top" "$work"
# The dashboard's queries, as rules.
promtool check rules "$work/queries.yml"
