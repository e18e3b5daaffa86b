import assert from "node:assert/strict";
import { test } from "node:test";
import { amount, exactJson, money } from "../../shared/runtime/assets/dashboard/format.js";

test("amounts are shown to the fourth place, and with two at least", () => {
  const rows = [
    [0.0001, "0.0001"],
    [12.3456, "12.3456"],
    [99.9, "99.90"],
    [1234567, "1,234,567.00"],
  ];
  for (const [value, shown] of rows) assert.equal(amount(value), shown);
  assert.equal(money(99.99, "USD"), "99.99 USD");
});

test("other numbers stay numbers", () => {
  const order = exactJson('{"version":7,"items":[{"quantity":2,"unitPrice":49.99}]}');
  assert.equal(order.version, 7);
  assert.equal(order.items[0].quantity, 2);
  assert.equal(String(order.items[0].unitPrice), "49.99");
});
