"""What promtool does not look at: whether names, alerts, their tests, the documents and the dashboard fit together.

    python3 tests/monitoring.py TOP WORK

TOP is the top of the repository. WORK may hold what /metrics answered, as *.txt; the dashboard's queries are written
there as queries.yml, in which promtool finds mistakes.
"""

import json
import re
import sys
from pathlib import Path

import yaml

top, work = Path(sys.argv[1]), Path(sys.argv[2])
monitoring = top / "docs/monitoring"
problems = []


def check(holds, problem):
    if not holds:
        problems.append(problem)


# -- the names

listed = {}
for name, kind in re.findall(r"^\| `(\w+)(?:\{[\w,]*\})?` \| (\w+) \|", (monitoring / "metrics.md").read_text(), re.M):
    check(name not in listed, f"metrics.md has {name} twice")
    listed[name] = kind
check(listed, "metrics.md lists nothing")
known = set(listed)
for name, kind in listed.items():
    if kind == "histogram":
        known |= {name + suffix for suffix in ("_bucket", "_sum", "_count")}

rules = [rule for group in yaml.safe_load((monitoring / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
recorded = {rule["record"] for rule in rules if "record" in rule}
alerts = {rule["alert"]: rule for rule in rules if "alert" in rule}

# What Prometheus itself writes.
known |= recorded | {"up", "ALERTS"}

WORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "offset", "bool"}


def names(expression):
    """The metrics that an expression mentions."""
    bare = re.sub(r'"(?:\\.|[^"\\])*"', "", expression)
    bare = re.sub(r"\{[^}]*\}", "", bare)
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    found = re.findall(r"(?<![\w.:$])([A-Za-z_:][\w:]*)\b(?!\s*\()", bare)
    return {name for name in found if name not in WORDS}


assert names('sum by (le, x) (rate(a_bucket{b="c(d"}[5m])) / (e offset 15m > 0.1 or vector(0)) and f:g:h') == {
    "a_bucket",
    "e",
    "f:g:h",
}


def check_names(where, expression):
    found = names(expression)
    check(found, f"{where} asks for no metric")
    for name in sorted(found - known):
        check(False, f"{where} asks for {name}, which metrics.md does not list")


# -- the alerts

for rule in rules:
    check_names(rule.get("alert", rule.get("record")), rule["expr"])

operations = (top / "docs/operations.md").read_text()
anchors = {
    re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", operations, re.M)
}
for name, rule in alerts.items():
    check(rule.get("labels", {}).get("severity") in ("page", "ticket"), f"{name} has no severity: page or ticket")
    annotations = rule.get("annotations", {})
    for needed in ("summary", "description"):
        check(annotations.get(needed), f"{name} has no {needed}")
    page, _, anchor = annotations.get("runbook", "").partition("#")
    check(page == "docs/operations.md" and anchor == name.lower(), f"{name} has no runbook docs/operations.md#{name.lower()}")
    check(anchor in anchors, f"docs/operations.md has no section for {name}")

fires, silent = set(), set()
for test in yaml.safe_load((monitoring / "alerts.test.yml").read_text())["tests"]:
    for series in test.get("input_series", []):
        check_names(f"the test {test['name']!r}", series["series"])
    for case in test.get("promql_expr_test", []):
        for name in re.findall(r'alertname="(\w+)"', case["expr"]):
            check(name in alerts, f"the test {test['name']!r} is of {name}, which is no alert")
            (fires if case.get("exp_samples") else silent).add(name)
for name in alerts:
    check(name in fires, f"no test has {name} fire")
    check(name in silent, f"no test has {name} stay silent")

# -- the dashboard

queries, ids, uids = [], set(), set()
for path in sorted((monitoring / "grafana/dashboards").glob("*.json")):
    board = json.loads(path.read_text())
    check(board.get("uid") and board["uid"] not in uids, f"{path.name} has no uid of its own")
    uids.add(board.get("uid"))
    check(board.get("schemaVersion", 0) >= 39, f"{path.name} is of an old schema")
    variables = {variable["name"] for variable in board["templating"]["list"]}
    places = set()
    for panel in board["panels"]:
        title = f"{path.name}: {panel.get('title')!r}"
        check(panel["id"] not in ids, f"{title} has the id of another panel")
        ids.add(panel["id"])
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        check(not cells & places and at["x"] + at["w"] <= 24, f"{title} lies over another panel")
        places |= cells
        if panel["type"] == "row":
            continue
        check(panel.get("description"), f"{title} has no description")
        check(panel["fieldConfig"]["defaults"].get("unit"), f"{title} has no unit")
        check(panel.get("targets"), f"{title} asks for nothing")
        for target in panel.get("targets", []):
            check_names(title, target["expr"])
            queries.append(target["expr"])
    for annotation in board["annotations"]["list"]:
        check_names(f"{path.name}: {annotation['name']!r}", annotation["expr"])
        queries.append(annotation["expr"])
    used = set(re.findall(r"\$\{?(\w+)", path.read_text())) - {"__rate_interval", "__all"}
    check(used <= variables, f"{path.name} uses variables that it does not have: {used - variables}")
shown = set().union(*map(names, queries)) if queries else set()
for name, kind in listed.items():
    forms = {name, name + "_bucket", name + "_count"} if kind == "histogram" else {name}
    check(forms & shown, f"no panel shows {name}")

plain = [query.replace("$__rate_interval", "1m").replace("$service", ".*") for query in queries]
numbered = [{"record": f"dashboard:query:{i}", "expr": query} for i, query in enumerate(plain)]
(work / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": numbered}]}))

# -- a running system

answers = sorted(work.glob("*.txt"))
exposed = {}
for answer in answers:
    text = answer.read_text()
    exposed |= dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
    for line in text.splitlines():
        if line and not line.startswith("#"):
            check("service=" in line, f"a series without the label service: {line}")
for name, kind in sorted(exposed.items()):
    check(name in listed, f"/metrics has {name}, which metrics.md does not list")
    check(listed.get(name, kind) == kind, f"{name} is a {kind}, and metrics.md says {listed.get(name)}")
if answers:
    print("not on /metrics (so far):", ", ".join(sorted(set(listed) - set(exposed))) or "nothing")

if problems:
    sys.exit("\n".join(problems))
print(f"{len(listed)} metrics, {len(alerts)} alerts, {len(queries)} queries of the dashboard fit together")
