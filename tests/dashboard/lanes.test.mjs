import assert from "node:assert/strict";
import { test } from "node:test";
import { countdown, layout, offset, rowsOf } from "../../shared/runtime/assets/dashboard/lanes.js";

const START = Date.parse("2026-11-23T01:00:00Z");
const iso = (millis) => new Date(START + millis).toISOString();
const entry = (at, kind, service, name, status, money, version) => ({
  at: iso(at),
  kind,
  service: `${service}-service`,
  name,
  status,
  money,
  version,
});

const PLACED = [
  entry(0, "REQUEST", "order", "PLACED", "PENDING", "UNKNOWN", 1),
  entry(0, "TRANSITION", "order", "AWAITING_PAYMENT", "PENDING", "UNKNOWN", 1),
  entry(0, "EVENT", "order", "OrderCreated", "PENDING", "UNKNOWN", 1),
];
const PAID = [
  entry(40, "EVENT", "payment", "PaymentConfirmed", "PENDING", "UNKNOWN", 2),
  entry(40, "TRANSITION", "order", "AWAITING_INVENTORY", "PENDING", "CHARGED", 2),
];
const SHORT = [
  entry(60, "EVENT", "inventory", "InventoryFailed", "PENDING", "CHARGED", 3),
  entry(60, "TRANSITION", "order", "FAILED", "FAILED", "REFUND_DUE", 3),
  entry(60, "EVENT", "order", "OrderFailed", "FAILED", "REFUND_DUE", 3),
  entry(2300, "EVENT", "payment", "PaymentRefunded", "FAILED", "REFUND_DUE", 4),
];
const MID = {
  entries: [...PLACED, ...PAID],
  next: [
    { service: "inventory-service", events: ["InventoryReserved", "InventoryFailed"], deadline: iso(30_000) },
    { service: "order-service", events: ["OrderConfirmed"] },
  ],
};
const COMPENSATED = { entries: [...PLACED, ...PAID, ...SHORT], next: [] };

test("money changes where it is known to have changed", () => {
  const changes = (timeline, order) =>
    rowsOf(timeline, order)
      .filter((row) => row.money)
      .map((row) => [row.kind, row.at, row.money]);
  const before = [
    ["TRANSITION", iso(40), "CHARGED"],
    ["TRANSITION", iso(60), "REFUND_DUE"],
  ];
  assert.deepEqual(changes(COMPENSATED, { version: 4, money: "REFUNDED" }), [
    ...before,
    ["STATE", iso(2300), "REFUNDED"],
  ]);
  assert.deepEqual(
    changes(COMPENSATED, { version: 5, money: "REFUNDED" }),
    before,
    "an order read later says nothing of this step",
  );
});

test("arrows go from the sender to its readers", () => {
  const { lanes, rows } = layout(MID, null, { width: 1000, now: START + 10_000 });
  const lane = (x) => lanes.find((one) => one.x === x).name;
  const arrows = rows
    .filter((row) => row.ends.length)
    .map((row) => [row.text, lane(row.from), row.ends.map(lane), row.wait ?? ""]);
  assert.deepEqual(arrows, [
    ["OrderCreated", "order", ["payment", "inventory"], ""],
    ["PaymentConfirmed", "payment", ["order", "inventory"], ""],
    ["InventoryReserved or InventoryFailed", "inventory", ["order"], "within 20 s"],
    ["OrderConfirmed", "order", ["notification"], ""],
  ]);
});

test("rows go down, within the width, and what is to come is below now", () => {
  for (const timeline of [MID, COMPENSATED]) {
    for (const width of [304, 700, 1280]) {
      const { rows, nowY, height, wide } = layout(timeline, null, { width, now: START });
      rows.reduce((above, row) => (assert.ok(row.y > above), row.y), 0);
      for (const row of rows) {
        assert.ok(row.y < height);
        assert.equal(row.kind === "COMING", nowY !== undefined && row.y > nowY);
        if (row.kind === "EVENT")
          assert.ok(
            row.textX - wide(row.text) / 2 >= 0 && row.textX + wide(row.text) / 2 <= width,
            `${row.text} at ${width}`,
          );
      }
    }
  }
});

test("lanes are coloured by what was so when", () => {
  const { status, money, height } = layout(COMPENSATED, { version: 4, money: "REFUNDED" }, { width: 1000, now: START });
  assert.deepEqual(
    status.map(({ value }) => value),
    ["PENDING", "PENDING", "FAILED"],
  );
  assert.deepEqual(
    money.map(({ value }) => value),
    ["CHARGED", "REFUND_DUE", "REFUNDED"],
  );
  assert.equal(status[1].end, status[2].start);
  assert.equal(money[2].end, height - 12);
});

test("times are told shortly", () => {
  assert.deepEqual([0, 38, 2371, 75_000].map(offset), ["0", "+38 ms", "+2.37 s", "+1 min 15 s"]);
  assert.deepEqual(
    [iso(24_900), iso(-12_000), undefined].map((deadline) => countdown(deadline, START)),
    ["within 24 s", "deadline passed 12 s ago", ""],
  );
});
