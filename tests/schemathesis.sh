#!/usr/bin/env bash
# Requests made from the OpenAPI documents, good and bad ones, at all four services. Every check is on;
# schemathesis.toml lists the replies that are right although the schema does not announce them.
#
#   pip install 'schemathesis>=4.32'
#   cargo build && tests/schemathesis.sh                    starts target/debug/order-system for the moment
#   tests/schemathesis.sh http://localhost:808{0,1,2,3}     at services that run
#
# SCHEMATHESIS names the program, EXAMPLES the number of requests per operation, SEED the seed, REPORTS a directory.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
schemathesis=${SCHEMATHESIS:-schemathesis}
examples=${EXAMPLES:-100}
seed=${SEED:-1}
reports=${REPORTS:-$(mktemp -d)}
port=${HTTP_PORT:-18480}
mkdir -p "$reports" && reports=$(cd "$reports" && pwd)

if [ $# -eq 0 ]; then
    data=$(mktemp -d)
    program=${ORDER_SYSTEM:-$here/../target/debug/order-system}
    "$program" run --data-dir "$data" --http-port "$port" >"$reports/order-system.log" 2>&1 &
    system=$!
    trap 'kill "$system" 2>/dev/null; wait "$system" || true; rm -rf "$data"' EXIT
    set -- "http://127.0.0.1:$port" "http://127.0.0.1:$((port + 1))" \
        "http://127.0.0.1:$((port + 2))" "http://127.0.0.1:$((port + 3))"
fi

# It keeps notes where it runs.
cd "$reports"
failed=0
for url in "$@"; do
    for _ in $(seq 300); do
        curl -sf -o /dev/null "$url/health/ready" && break
        sleep 0.1
    done
    options=(--checks all --max-examples "$examples" --seed "$seed" --continue-on-failure --request-timeout 30)
    name=$(echo "$url" | tr -c '[:alnum:]\n' '-')
    echo "== $url"
    "$schemathesis" --config-file "$here/schemathesis.toml" run "$url/openapi.json" "${options[@]}" \
        --report junit --report-junit-path "$reports/$name.xml" || failed=1
done
exit $failed
