// node --test tests/dashboard/*.test.mjs

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  between,
  histogram,
  increase,
  quantile,
  spread,
  together,
  total,
} from "../../shared/runtime/assets/dashboard/figures.js";

/** Up to 1: `a`, up to 2: `b` more, above that: `c` more. */
const seen = (a, b, c) => ({
  count: a + b + c,
  sum: 0,
  buckets: [
    [1, a],
    [2, a + b],
  ],
});

test("a quantile is found within its bucket", () => {
  const cases = [
    [seen(10, 0, 0), 0.5, 0.5],
    [seen(10, 10, 0), 0.5, 1],
    [seen(10, 10, 0), 0.75, 1.5],
    [seen(0, 4, 0), 0.5, 1.5],
    [seen(1, 0, 9), 0.99, Infinity],
    [seen(0, 0, 0), 0.5, null],
    [null, 0.5, null],
  ];
  for (const [histogram, share, expected] of cases)
    assert.equal(quantile(histogram, share), expected, JSON.stringify([histogram, share]));
  assert.deepEqual(spread(seen(100, 0, 0)), { p50: 0.5, p99: 0.99 });
});

test("a counter that fell was started again", () => {
  const cases = [
    [5, 3, 2],
    [5, 5, 0],
    [2, 5, 2],
    [7, null, 7],
    [null, 5, null],
  ];
  for (const [now, before, expected] of cases) assert.equal(increase(now, before), expected, `${before} → ${now}`);
});

test("what a histogram saw meanwhile", () => {
  assert.deepEqual(between(seen(5, 4, 3), seen(2, 2, 2)), seen(3, 2, 1));
  assert.deepEqual(between(seen(1, 0, 0), seen(5, 0, 0)), seen(1, 0, 0));
  assert.deepEqual(between(seen(1, 0, 0), null), seen(1, 0, 0));
  assert.equal(between(null, seen(1, 0, 0)), null);
  assert.deepEqual(together([seen(1, 2, 3), null, seen(1, 1, 1)]), seen(2, 3, 4));
});

test("series are chosen by labels", () => {
  const metrics = {
    lag: [
      { labels: { topic: "a", partition: "0" }, value: 3 },
      { labels: { topic: "a", partition: "1" }, value: 4 },
      { labels: { topic: "b", partition: "0" }, value: 5 },
    ],
    http: [
      { labels: { route: "/x", status: "200" }, ...seen(1, 0, 0) },
      { labels: { route: "/x", status: "500" }, ...seen(0, 1, 0) },
    ],
  };
  assert.equal(total(metrics, "lag"), 12);
  assert.equal(total(metrics, "lag", { topic: "a" }), 7);
  assert.equal(total(metrics, "lag", { topic: "c" }), null);
  assert.equal(total(metrics, "http", { route: "/x" }), 2);
  assert.deepEqual(histogram(metrics, "http", { route: "/x" }), seen(1, 1, 0));
  assert.equal(total(undefined, "lag"), null);
});
