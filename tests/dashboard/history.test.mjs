import assert from "node:assert/strict";
import { test } from "node:test";
import { History } from "../../shared/runtime/assets/dashboard/history.js";

const START = Date.parse("2026-11-23T01:00:00Z");

function snapshot({
  service = "order-service",
  replica = "a-1",
  second = 0,
  up = 100 + second,
  status = "UP",
  orders = 0,
  stuck = 0,
  live = 0,
}) {
  const one = (labels, value) => [{ labels, value }];
  const metrics = {
    orders_total: one({ status: "PENDING" }, orders),
    orders_stuck: one({}, stuck),
    actor_live: one({ kind: "order" }, live),
  };
  return {
    service,
    replica,
    version: "0.1.0",
    url: "http://localhost:8080",
    at: new Date(START + second * 1000).toISOString(),
    upSeconds: up,
    status,
    checks: {},
    parts: [],
    metrics,
  };
}

/** Hears each of these as it is sent. */
function heard(...snapshots) {
  const history = new History();
  for (const one of snapshots) history.take(one, Date.parse(one.at));
  return history;
}
const at = (history, second) => history.at(START + second * 1000);
const rate = (now) => now.all.rate("orders_total", { status: "PENDING" });

test("a rate is that of the last ten seconds, over restarts", () => {
  const steady = Array.from({ length: 60 }, (_, second) =>
    snapshot({ second, orders: second < 30 ? 0 : (second - 30) * 7 }),
  );
  assert.equal(rate(at(heard(...steady), 59)), 7);
  assert.equal(rate(at(heard(steady[0]), 0)), null, "one snapshot says nothing of time");
  const again = [
    snapshot({ second: 0, orders: 1000 }),
    snapshot({ second: 5, orders: 1050 }),
    snapshot({ second: 10, orders: 20 }),
  ];
  assert.equal(rate(at(heard(...again), 10)), 2);
});

test("replicas add up, but not what they read from the same database", () => {
  const pair = ["a-1", "b-1"].flatMap((replica) =>
    [0, 10].map((second) => snapshot({ replica, second, orders: second * 4, stuck: 3, live: 5 })),
  );
  const now = at(heard(...pair), 10);
  assert.equal(rate(now), 8);
  assert.equal(now.all.sum("actor_live"), 10);
  assert.equal(now.all.shared("orders_stuck"), 3);
});

test("silence is told, and ends when another process has taken over", () => {
  const history = heard(snapshot({ replica: "a-1", second: 0 }), snapshot({ replica: "a-1", second: 1 }));
  const condition = (second) =>
    at(history, second).services.map(({ name, condition, replicas }) => [name, condition, replicas.length]);
  assert.deepEqual(condition(2), [["order-service", "UP", 1]]);
  assert.deepEqual(condition(6), [["order-service", "SILENT", 1]]);
  for (const second of [20, 21, 22])
    history.take(snapshot({ replica: "a-2", second, up: second - 19 }), START + second * 1000);
  assert.deepEqual(condition(22), [["order-service", "UP", 1]]);
});

test("one of two that is silent degrades its service", () => {
  const history = heard(snapshot({ replica: "a-1" }), snapshot({ replica: "b-1" }));
  for (const second of [1, 2, 8]) history.take(snapshot({ replica: "b-1", second }), START + second * 1000);
  assert.equal(at(history, 8).services[0].condition, "DEGRADED");
});

test("what was sent of the past is as old as it says", () => {
  const history = new History();
  // All in one moment, as the stream begins; this one's computer is a minute behind ours.
  const now = START + 120_000;
  for (const second of [0, 1, 2]) history.take(snapshot({ replica: "dead-1", second }), now);
  for (const second of [2, 60]) history.take(snapshot({ replica: "live-1", service: "payment-service", second }), now);
  const silence = Object.fromEntries(history.at(now).services.map((service) => [service.name, service.silence]));
  assert.deepEqual(silence, { "order-service": 58, "payment-service": 0 });
});

test("a line has a value for each second that was heard", () => {
  const history = heard(...[0, 1, 2, 3].map((second) => snapshot({ second, orders: second * 2 })));
  const line = history.line("accepted", "order-service", START + 9000);
  assert.equal(line.length, 301);
  assert.deepEqual(line.slice(-11), [null, null, 2, 2, 2, 2, 2, 2, 2, null, null]);
});
