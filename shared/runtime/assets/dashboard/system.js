// The whole system on one page.

import { charts, SYSTEM_CHARTS } from "./charts.js";
import { spread } from "./figures.js";
import { h } from "./dom.js";
import { count, perSecond, rate, seconds, shortName } from "./format.js";
import { SERVICES } from "./history.js";
import {
  badge,
  conditionBadge,
  conditionTone,
  empty,
  facts,
  placeOf,
  reasons,
  section,
  table,
  tile,
  viewOf,
} from "./pieces.js";
import { sagaFlow } from "./saga-flow.js";

const DOES = {
  "order-service": "Takes orders and sees them to their end",
  "payment-service": "Charges the customer, and gives back",
  "inventory-service": "Holds the stock, and releases it",
  "notification-service": "Tells the customer how it went",
};

const list = new Intl.ListFormat("en");

/** How everything is, in a sentence. Read aloud when it changes, so it holds no figures that move. */
export function summary({ services }) {
  const missing = SERVICES.filter((name) => !services.some((service) => service.name === name));
  const said = services
    .filter((service) => service.condition !== "UP")
    .map((service) => {
      const words = { DEGRADED: "is degraded", DOWN: "is down", SILENT: "is not heard of" };
      return `${service.name} ${words[service.condition]}`;
    });
  if (missing.length) said.push(`nothing was heard of ${list.format(missing)} yet`);
  if (said.length === 0) return "All services are up.";
  return `Not all is well: ${list.format(said)}.`;
}

export function attention(context, { all }) {
  const tiles = [
    ["Stuck orders", "orders_stuck", "order-service", "stuck", "past their deadline, and still waiting"],
    [
      "Payments to look at",
      "payments_needing_attention",
      "payment-service",
      "attention",
      "do not settle by themselves",
    ],
    ["Notices given up", "notices_needing_attention", "notification-service", "attention", "could not be delivered"],
  ].map(([label, metric, service, part, note]) => {
    const value = all.shared(metric) ?? 0;
    return tile({ label, value, note, tone: value ? "warn" : "calm", href: placeOf(context, service, part) });
  });
  // Each service keeps its own, so each has its own link.
  const letters = context.now.services
    .map((service) => ({ name: service.name, open: service.figures.shared("dead_letters_open") ?? 0 }))
    .filter(({ open }) => open > 0);
  if (letters.length === 0) letters.push({ name: context.own, open: 0 });
  const note = (name, open) =>
    open ? `messages that ${shortName(name)} could not handle` : "messages that nobody could handle";
  const more = letters.map(({ name, open }) =>
    tile({
      key: name,
      label: "Open dead letters",
      value: open,
      note: note(name, open),
      tone: open ? "warn" : "calm",
      href: placeOf(context, name, "dead-letters"),
    }),
  );
  return [tiles[0], more, ...tiles.slice(1)];
}

function card(context, service) {
  const { figures, name, condition } = service;
  const isSilent = condition === "SILENT";
  const restarting = figures.live.flatMap((one) =>
    one.snapshot.parts.filter((part) => part.state !== "RUNNING").map((part) => part.kind),
  );
  return h(
    "li",
    { class: `card ${conditionTone(condition)}`, key: name },
    h(
      "h3",
      null,
      h(
        "a",
        { href: viewOf(name) },
        h("span", { class: `dot ${shortName(name)}`, "aria-hidden": "true" }),
        shortName(name),
      ),
      conditionBadge(condition),
    ),
    h("p", { class: "does" }, DOES[name]),
    reasons(service).map((reason) => h("p", { class: "reason", key: reason.slice(0, 24) }, reason)),
    reasons(service).length === 0 &&
      restarting.length > 0 &&
      h("p", { class: "reason" }, `Starting: ${list.format(restarting)}`),
    facts([
      [
        "Processes",
        isSilent
          ? `0 of ${service.replicas.length}`
          : service.replicas.length > 1
            ? `${figures.live.length} of ${service.replicas.length}`
            : "1",
      ],
      name === "notification-service"
        ? ["Notices sent", rate(figures.rate("notice_deliveries_total", { outcome: "sent" }))]
        : ["Events committed", rate(figures.rate("saga_events_total"))],
      ["HTTP requests", rate(figures.rate("http_request_duration_seconds"))],
      ["Messages to read", count(figures.sum("kafka_consumer_lag") ?? 0)],
      ["Events to publish", count(figures.shared("outbox_pending"))],
      ["Orders in memory", count(figures.sum("actor_live", { kind: "order" }) ?? 0)],
    ]),
    h(
      "p",
      { class: "links" },
      h("a", { href: viewOf(name) }, "Look inside"),
      !isSilent && name !== context.own && h("a", { href: `${service.url}${viewOf(name)}` }, "Its own dashboard"),
      !isSilent && h("a", { href: name === context.own ? "/docs" : `${service.url}/docs` }, "API docs"),
    ),
  );
}

const unheard = (name) =>
  h(
    "li",
    { class: "card gone", key: name },
    h("h3", null, shortName(name), badge("gone", "Not heard of")),
    h("p", { class: "does" }, DOES[name]),
    h(
      "p",
      { class: "reason" },
      "Nothing was heard of it since this page was opened. Does it run, and on the same event log?",
    ),
  );

const CODES = {
  PAYMENT_DECLINED: "payment declined",
  OUT_OF_STOCK: "out of stock",
  PAYMENT_TIMEOUT: "payment not in time",
  INVENTORY_TIMEOUT: "stock not in time",
};

function outcomes({ all }) {
  const failures = all.values("order_failures_total", "code");
  const durations = all.values("order_duration_seconds", "outcome");
  return h(
    "div",
    { class: "columns" },
    h(
      "div",
      null,
      h("h3", null, "Why orders failed"),
      failures.length === 0
        ? empty("No order has failed since the start.")
        : table({
            caption: "Failed orders by code",
            columns: [
              { title: "Code" },
              { title: "Rate", unit: "/s", number: true },
              { title: "Total", unit: "since start", number: true },
            ],
            rows: failures.map((code) => ({
              key: code,
              cells: [
                [CODES[code] ?? code, h("small", null, code)],
                perSecond(all.rate("order_failures_total", { code })),
                count(all.sum("order_failures_total", { code })),
              ],
            })),
          }),
    ),
    h(
      "div",
      null,
      h("h3", null, "From accepted to the end"),
      durations.length === 0
        ? empty("No order has come to its end since the start.")
        : table({
            caption: "How long orders take, by outcome",
            columns: [
              { title: "Outcome" },
              { title: "p50", unit: "last 10 s", number: true },
              { title: "p99", unit: "last 10 s", number: true },
              { title: "p99", unit: "since start", number: true },
            ],
            rows: durations.map((outcome) => {
              const recent = spread(all.recent("order_duration_seconds", { outcome }));
              return {
                key: outcome,
                cells: [
                  outcome.toLowerCase(),
                  seconds(recent.p50),
                  seconds(recent.p99),
                  seconds(spread(all.ever("order_duration_seconds", { outcome })).p99),
                ],
              };
            }),
          }),
    ),
  );
}

export function systemView(context) {
  const { now } = context;
  const { all } = now;
  const orders = (status) => placeOf(context, "order-service", status ? `orders/${status}` : "orders");
  const total = (status) => all.sum("orders_total", { status }) ?? 0;
  const pending = {
    payment: all.shared("orders_by_stage", { stage: "AWAITING_PAYMENT" }) ?? 0,
    stock: all.shared("orders_by_stage", { stage: "AWAITING_INVENTORY" }) ?? 0,
  };
  const unknown = SERVICES.filter((name) => !now.services.some((service) => service.name === name));
  const isBad =
    now.services.some(({ condition }) => condition === "DOWN" || condition === "SILENT") || unknown.length > 0;
  const tone = isBad ? "bad" : now.services.some(({ condition }) => condition !== "UP") ? "warn" : "ok";
  const hasOrders = total("PENDING") > 0 || pending.payment + pending.stock > 0;
  return [
    h(
      "div",
      { class: "title", key: "title" },
      h("h1", null, "Whole system"),
      h("p", { class: `summary ${tone}` }, context.isOld && "When last heard: ", summary(now)),
    ),
    section("attention", "Needs attention", h("div", { class: "tiles" }, attention(context, now))),
    section(
      "services",
      "Services",
      h(
        "ul",
        { class: "cards" },
        now.services.map((service) => card(context, service)),
        unknown.map(unheard),
      ),
    ),
    section(
      "flow",
      "Orders on their way",
      !hasOrders &&
        empty(
          "No orders yet. ",
          h("a", { href: "/docs" }, "Place one in Swagger UI"),
          ", and watch it go from left to right.",
        ),
      h(
        "div",
        { class: "tiles small" },
        tile({
          href: orders(),
          label: "accepted",
          value: rate(all.rate("orders_total", { status: "PENDING" })),
          note: `${count(total("PENDING"))} since start`,
        }),
        tile({ href: orders("PENDING"), label: "wait for payment", value: pending.payment, note: "now" }),
        tile({ href: orders("PENDING"), label: "wait for stock", value: pending.stock, note: "now" }),
        tile({
          href: orders("CONFIRMED"),
          label: "confirmed",
          value: rate(all.rate("orders_total", { status: "CONFIRMED" })),
          note: `${count(total("CONFIRMED"))} since start`,
        }),
        tile({
          href: orders("FAILED"),
          label: "failed",
          value: rate(all.rate("orders_total", { status: "FAILED" })),
          note: `${count(total("FAILED"))} since start`,
        }),
        tile({
          href: orders("CANCELLED"),
          label: "cancelled",
          value: rate(all.rate("orders_total", { status: "CANCELLED" })),
          note: `${count(total("CANCELLED"))} since start`,
        }),
      ),
      h(
        "p",
        { class: "hint" },
        "Each box is a step and the event that tells of it: per second over the last 10 s on the left, since the services started on the right. Above the first arrows: orders that wait there now.",
      ),
      sagaFlow(all),
      outcomes(now),
    ),
    section("charts", "The last five minutes", charts(SYSTEM_CHARTS, context.history, now.now)),
  ];
}
