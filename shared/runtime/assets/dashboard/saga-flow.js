// How orders flow: the saga as a picture over the services, with the rate of every step, and the same as a table.

import { h } from "./dom.js";
import { count, perSecond, plural } from "./format.js";

const event = (name) => ["saga_events_total", { event: name }];

/** Every step, where it stands in the picture, and what counts it. */
const STEPS = [
  {
    id: "created",
    column: 0,
    row: 0,
    service: "order",
    title: "Accepted",
    says: "OrderCreated",
    counts: event("OrderCreated"),
  },
  {
    id: "paid",
    column: 1,
    row: 0,
    service: "payment",
    title: "Paid",
    says: "PaymentConfirmed",
    counts: event("PaymentConfirmed"),
  },
  {
    id: "reserved",
    column: 2,
    row: 0,
    service: "inventory",
    title: "Stock held",
    says: "InventoryReserved",
    counts: event("InventoryReserved"),
  },
  {
    id: "confirmed",
    column: 3,
    row: 0,
    service: "order",
    title: "Confirmed",
    says: "OrderConfirmed",
    counts: event("OrderConfirmed"),
  },
  {
    id: "told",
    column: 4,
    row: 0,
    service: "notification",
    title: "Customer told",
    says: "notices sent",
    counts: ["notice_deliveries_total", { outcome: "sent" }],
  },
  {
    id: "declined",
    column: 1,
    row: 1,
    service: "payment",
    title: "Declined",
    says: "PaymentFailed",
    counts: event("PaymentFailed"),
    tone: "bad",
  },
  {
    id: "short",
    column: 2,
    row: 1,
    service: "inventory",
    title: "Out of stock",
    says: "InventoryFailed",
    counts: event("InventoryFailed"),
    tone: "bad",
  },
  {
    id: "failed",
    column: 3,
    row: 1,
    service: "order",
    title: "Failed",
    says: "OrderFailed",
    counts: event("OrderFailed"),
    tone: "bad",
  },
  {
    id: "refunded",
    column: 1,
    row: 2,
    service: "payment",
    title: "Refunded",
    says: "PaymentRefunded",
    counts: event("PaymentRefunded"),
    tone: "back",
  },
  {
    id: "asked",
    column: 2,
    row: 2,
    service: "inventory",
    title: "Refund asked for",
    says: "PaymentRefundRequested",
    counts: event("PaymentRefundRequested"),
    tone: "back",
  },
  {
    id: "cancelled",
    column: 3,
    row: 2,
    service: "order",
    title: "Cancelled",
    says: "OrderCancelled",
    counts: event("OrderCancelled"),
    tone: "back",
  },
  {
    id: "released",
    column: 2,
    row: 3,
    service: "inventory",
    title: "Stock released",
    says: "InventoryReleased",
    counts: event("InventoryReleased"),
    tone: "back",
  },
];

const [WIDTH, HEIGHT, ACROSS, DOWN, TOP] = [170, 66, 222, 96, 34];
const box = ({ column, row }) => ({ x: 4 + column * ACROSS, y: TOP + row * DOWN });
const find = (id) => STEPS.find((step) => step.id === id);
const right = (id) => ({ x: box(find(id)).x + WIDTH, y: box(find(id)).y + HEIGHT / 2 });
const left = (id) => ({ x: box(find(id)).x, y: box(find(id)).y + HEIGHT / 2 });
const under = (id, share = 0.5) => ({ x: box(find(id)).x + WIDTH * share, y: box(find(id)).y + HEIGHT });
const over = (id, share = 0.5) => ({ x: box(find(id)).x + WIDTH * share, y: box(find(id)).y });

const across = (from, to) => `M${from.x} ${from.y}H${to.x}`;
const branch = (from, to) => `M${from.x} ${from.y}C${from.x + 24} ${from.y} ${to.x - 24} ${to.y} ${to.x} ${to.y}`;
const down = (from, to) => `M${from.x} ${from.y}V${to.y}`;

/** The arrows: which step's rate makes them thick, and their way. */
const ARROWS = [
  ["paid", across(right("created"), left("paid"))],
  ["reserved", across(right("paid"), left("reserved"))],
  ["confirmed", across(right("reserved"), left("confirmed"))],
  ["told", across(right("confirmed"), left("told"))],
  ["declined", branch(right("created"), left("declined"))],
  ["short", branch(right("paid"), left("short"))],
  ["short", across(right("short"), left("failed"))],
  [
    "declined",
    `M${under("declined").x} ${under("declined").y}v9q0 6 6 6H${under("failed", 0.3).x - 6}q6 0 6 -6V${under("failed").y}`,
  ],
  ["asked", down(under("short", 0.5), over("asked", 0.5))],
  ["refunded", across(left("asked"), right("refunded"))],
  [
    "cancelled",
    `M${right("confirmed").x} ${right("confirmed").y + 20}h12q6 0 6 6V${right("cancelled").y - 6}q0 6 -6 6H${right("cancelled").x}`,
  ],
  ["asked", across(left("cancelled"), right("asked"))],
  [
    "released",
    `M${under("cancelled").x} ${under("cancelled").y}V${right("released").y - 6}q0 6 -6 6H${right("released").x}`,
  ],
];

const toneOf = (id) => find(id).tone ?? "good";
// Ten times as much is one step thicker, so that the rare is still seen beside the frequent.
const thickness = (rate) => (rate > 0 ? Math.min(7, 1.75 + Math.log10(1 + rate) * 1.6) : 1.25);

export function sagaFlow(all) {
  const steps = STEPS.map((step) => ({ ...step, rate: all.rate(...step.counts), total: all.sum(...step.counts) ?? 0 }));
  const rates = Object.fromEntries(steps.map(({ id, rate }) => [id, rate ?? 0]));
  const waits = {
    payment: all.shared("orders_by_stage", { stage: "AWAITING_PAYMENT" }) ?? 0,
    stock: all.shared("orders_by_stage", { stage: "AWAITING_INVENTORY" }) ?? 0,
  };
  return h("div", { class: "flow" }, picture(steps, rates, waits), table(steps));
}

function picture(steps, rates, waits) {
  const heads = ["order", "payment", "inventory", "order", "notification"];
  return h(
    "svg",
    {
      class: "flow-picture",
      viewBox: `0 0 ${4 + 4 * ACROSS + WIDTH + 4} ${TOP + 3 * DOWN + HEIGHT + 4}`,
      "aria-hidden": "true",
    },
    h(
      "defs",
      null,
      ["good", "bad", "back", "still"].map((tone) =>
        h(
          "marker",
          {
            id: `tip-${tone}`,
            viewBox: "0 0 8 8",
            refX: 7,
            refY: 4,
            markerWidth: 8,
            markerHeight: 8,
            markerUnits: "userSpaceOnUse",
            orient: "auto",
          },
          h("path", { class: `tip ${tone}`, d: "M0 0L8 4L0 8Z" }),
        ),
      ),
    ),
    heads.map((name, i) =>
      h(
        "text",
        { class: "flow-head", x: box({ column: i, row: 0 }).x + WIDTH / 2, y: 18, "text-anchor": "middle" },
        i === 3 ? "order, at the end" : name,
      ),
    ),
    ARROWS.map(([id, d]) => {
      const tone = rates[id] > 0 ? toneOf(id) : "still";
      return h("path", {
        class: `arrow ${tone}`,
        d,
        "marker-end": `url(#tip-${tone})`,
        "stroke-width": thickness(rates[id]).toFixed(2),
      });
    }),
    steps.map(({ service, title, says, rate, total, tone, ...place }) => {
      const { x, y } = box(place);
      const isStill = !rate && total === 0;
      return h(
        "g",
        { class: `step ${tone ?? "good"} ${isStill ? "still" : ""}`, transform: `translate(${x} ${y})` },
        h("rect", { class: "step-box", width: WIDTH, height: HEIGHT, rx: 8 }),
        h("rect", { class: `step-edge ${service}`, x: 0, y: 10, width: 3, height: HEIGHT - 20, rx: 1.5 }),
        h("text", { class: "step-title", x: 14, y: 19 }, title),
        h(
          "text",
          { class: "step-rate", x: 14, y: 40 },
          perSecond(rate),
          h("tspan", { class: "step-unit", dx: 3 }, "/s"),
        ),
        h("text", { class: "step-total", x: WIDTH - 10, y: 40, "text-anchor": "end" }, count(total)),
        h("text", { class: "step-says", x: 14, y: 57 }, says),
      );
    }),
    waiting(waits.payment, "created", "wait for payment"),
    waiting(waits.stock, "paid", "wait for stock"),
  );
}

/** How many orders are between two steps now. */
function waiting(orders, id, what) {
  const { x, y } = right(id);
  const middle = x + (ACROSS - WIDTH) / 2;
  return h(
    "g",
    { class: `waits ${orders ? "" : "still"}` },
    h("text", { x: middle, y: y - 12, "text-anchor": "middle" }, count(orders)),
    h("title", null, `${plural(orders, "order")} ${what}`),
  );
}

function table(steps) {
  const most = Math.max(...steps.map((step) => step.rate ?? 0), 0.001);
  return h(
    "table",
    { class: "flow-table" },
    h("caption", { class: "hidden" }, "Steps of the saga"),
    h(
      "thead",
      null,
      h(
        "tr",
        null,
        [["Step"], ["Service"], ["Rate", "/s"], ["Total", "since start"]].map(([head, unit], i) =>
          h(
            "th",
            { scope: "col", class: i > 1 ? "number" : i === 1 && "service" },
            head,
            unit && h("small", null, unit),
          ),
        ),
      ),
    ),
    h(
      "tbody",
      null,
      steps.map(({ id, title, says, service, rate, total, tone }) =>
        h(
          "tr",
          { key: id, class: tone },
          h(
            "th",
            { scope: "row" },
            title,
            h("small", null, `${service}: ${says}`),
            h("span", { class: `bar ${tone ?? "good"}`, vars: { "--share": `${(100 * (rate ?? 0)) / most}%` } }),
          ),
          h("td", { class: "service" }, service),
          h("td", { class: "number" }, perSecond(rate)),
          h("td", { class: "number" }, count(total)),
        ),
      ),
    ),
  );
}
