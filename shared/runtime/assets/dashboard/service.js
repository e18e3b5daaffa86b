// One service: its parts, what it waits for, what it left behind.

import { charts, serviceCharts } from "./charts.js";
import { h } from "./dom.js";
import { quantile, spread, series } from "./figures.js";
import { age, count, pair, perSecond, rate, seconds, shortName } from "./format.js";
import { attentionList, deadLetterList, orderList, stuckList } from "./lists.js";
import { partsTree } from "./parts-tree.js";
import { badge, checkName, conditionBadge, conditionTone, empty, facts, reasons, section, table } from "./pieces.js";

export function serviceView(context, name, detail) {
  const service = context.now.services.find((one) => one.name === name);
  if (!service) {
    return [
      h("div", { class: "title", key: "title" }, h("h1", null, `${shortName(name)}-service`)),
      empty("Nothing was heard of this service yet. Does it run, and on the same event log?"),
    ];
  }
  const { figures, condition } = service;
  const isOwn = name === context.own;
  const wrong = reasons(service);
  // What somebody has to do something about comes first; while there is nothing, last.
  const isAsked = (...metrics) => metrics.some((metric) => figures.shared(metric) > 0);
  const isPayment = name === "payment-service";
  const lists = [
    name === "order-service" && [
      isAsked("orders_stuck"),
      section("stuck", "Stuck orders", stuckList(context, service, isOwn)),
    ],
    (isPayment || name === "notification-service") && [
      isAsked("payments_needing_attention", "notices_needing_attention"),
      section(
        "attention",
        isPayment ? "Payments to look at" : "Notices given up",
        attentionList(context, service, isOwn),
      ),
    ],
    [
      isAsked("dead_letters_open", "dead_letters_waiting"),
      section("dead-letters", "Dead letters", deadLetterList(context, service, isOwn)),
    ],
  ].filter(Boolean);
  return [
    h(
      "div",
      { class: "title", key: "title" },
      h(
        "h1",
        null,
        h("span", { class: `dot ${shortName(name)}`, "aria-hidden": "true" }),
        name,
        conditionBadge(condition),
      ),
      wrong.map((reason) => h("p", { class: `summary ${conditionTone(condition)}`, key: reason.slice(0, 24) }, reason)),
      !isOwn &&
        h(
          "p",
          { class: "hint" },
          "What can be done about it is on ",
          h("a", { href: `${service.url}/dashboard#/services/${name}` }, "its own dashboard"),
          "; its API is in ",
          h("a", { href: `${service.url}/docs` }, "its Swagger UI"),
          ".",
        ),
    ),
    lists.filter(([isFirst]) => isFirst).map(([, list]) => list),
    section(
      "parts",
      "Supervision tree",
      h(
        "p",
        { class: "hint" },
        "A part that ends is started again by the supervisor, alone, after a pause that grows. Times are of the last 10 s.",
      ),
      service.replicas.map((replica) => partsTree(context, service, replica, isOwn)),
    ),
    h(
      "div",
      { class: "columns wide", key: "condition" },
      section("health", "Health", checks(service)),
      section("processes", "Processes", processes(service)),
    ),
    section("charts", "The last five minutes", charts(serviceCharts(name), context.history, context.now.now, name)),
    h(
      "div",
      { class: "columns wide", key: "flow" },
      section("outbox", "Outbox and journal", outbox(figures)),
      section("lag", "Consumer lag", lag(service)),
    ),
    section("http", "HTTP", routes(figures)),
    name === "order-service" && section("orders", "Newest orders", orderList(context, service, isOwn, detail)),
    lists.filter(([isFirst]) => !isFirst).map(([, list]) => list),
  ];
}

function checks(service) {
  const said = new Map();
  for (const one of service.replicas) {
    for (const [check, words] of Object.entries(one.snapshot.checks))
      if (!said.has(check) || said.get(check) === "ok") said.set(check, words);
  }
  return h(
    "ul",
    { class: `checks ${service.condition === "SILENT" ? "stale" : ""}` },
    [...said].map(([check, words]) =>
      h(
        "li",
        { key: check, class: words === "ok" ? "ok" : "bad" },
        badge(words === "ok" ? "ok" : "bad", words === "ok" ? "ok" : "wrong"),
        h("span", null, checkName(check)),
        words !== "ok" && h("span", { class: "said" }, words),
      ),
    ),
  );
}

function processes(service) {
  return table({
    caption: "Processes of this service",
    columns: [
      { title: "Process" },
      { title: "Condition" },
      { title: "Up for", number: true },
      { title: "Version", number: true },
      { title: "Events", unit: "/s", number: true },
    ],
    rows: service.replicas.map((one) => ({
      key: one.snapshot.replica,
      class: one.isStale ? "stale" : "",
      cells: [
        one.snapshot.replica,
        one.isStale ? badge("gone", `silent for ${age(one.silence / 1000)}`) : conditionBadge(one.snapshot.status),
        age(one.snapshot.upSeconds),
        one.snapshot.version,
        perSecond(one.isStale ? null : rateOf(one, "saga_events_total")),
      ],
    })),
  });
}

function rateOf({ window }, name) {
  if (!window) return null;
  const sum = (metrics) => series(metrics, name).reduce((all, one) => all + one.value, 0);
  return Math.max(0, sum(window.now) - sum(window.before)) / window.seconds;
}

function outbox(figures) {
  const delay = spread(figures.recent("outbox_publish_delay_seconds"));
  const commit = spread(figures.recent("journal_commit_seconds"));
  const batch = figures.recent("journal_batch_size");
  const oldest = figures.shared("outbox_oldest_age_seconds");
  return facts([
    ["Events not yet on the log", count(figures.shared("outbox_pending"))],
    ["Oldest of them", age(oldest ?? 0)],
    ["Commit to log, p50 / p99", pair(delay)],
    ["Commits", rate(figures.rate("journal_commit_seconds"))],
    ["Commit time, p50 / p99", pair(commit)],
    [
      "Writes in one commit",
      batch?.count ? `${perSecond(batch.sum / batch.count)} on average, p99 ${size(quantile(batch, 0.99))}` : "–",
    ],
    ["Orders with something due", count(figures.shared("orders_waiting"))],
  ]);
}

const size = (value) => (value === Infinity ? "> 500" : count(value && Math.ceil(value)));

function lag(service) {
  const cells = new Map();
  for (const one of service.replicas) {
    // Of a partition that went to another process, who has it now knows best.
    for (const { labels, value } of series(one.snapshot.metrics, "kafka_consumer_lag")) {
      const known = cells.get(`${labels.topic}/${labels.partition}`);
      if (!known || (known.isStale && !one.isStale) || (known.isStale === one.isStale && value > known.value)) {
        cells.set(`${labels.topic}/${labels.partition}`, { ...labels, value, isStale: one.isStale });
      }
    }
  }
  const all = [...cells.values()];
  if (all.length === 0) return empty("Nothing was read from the event log yet.");
  const topics = [...new Set(all.map(({ topic }) => topic))].sort();
  const partitions = [...new Set(all.map(({ partition }) => partition))].sort((a, b) => a - b);
  const most = Math.max(...all.map(({ value }) => value));
  // Three steps that can be told apart, on a scale of tens.
  const heat = (value) => (value < 1 ? "heat-0" : value < 100 ? "heat-1" : value < 1000 ? "heat-2" : "heat-3");
  const { figures } = service;
  const paused = figures.sum("kafka_consumer_paused") ?? 0;
  const standstill = figures.sum("consumer_standstill_seconds") ?? 0;
  return [
    most === 0
      ? h("p", { class: "hint" }, "Messages not yet read, by partition. Everything on the log has been read.")
      : h("p", { class: "hint" }, "Messages not yet read, by partition."),
    (paused > 0 || standstill > 0) &&
      h(
        "p",
        { class: "reason" },
        paused > 0
          ? "Reading is paused until what was read is dealt with."
          : `Nothing moves on for ${age(standstill)}.`,
      ),
    table({
      caption: "Messages not yet read, by topic and partition",
      kind: "heat",
      columns: [
        { title: "Topic" },
        ...partitions.map((partition) => ({ title: partition, number: true })),
        { title: "All", number: true },
      ],
      rows: topics.map((topic) => {
        const values = partitions.map((partition) => cells.get(`${topic}/${partition}`)?.value);
        return {
          key: topic,
          cells: [
            topic,
            ...values.map((value) =>
              h("span", { class: `cell ${value === undefined ? "" : heat(value)}` }, count(value)),
            ),
            h("b", null, count(values.reduce((sum, value) => sum + (value ?? 0), 0))),
          ],
        };
      }),
    }),
  ];
}

function routes(figures) {
  const name = "http_request_duration_seconds";
  const found = new Map();
  for (const one of figures.replicas)
    for (const { labels } of series(one.snapshot.metrics, name)) found.set(`${labels.method} ${labels.route}`, labels);
  if (found.size === 0) return empty("No request was answered since the start.");
  const rows = [...found.values()].map(({ method, route }) => {
    const labels = { method, route };
    const failed = figures.replicas.reduce(
      (sum, one) =>
        sum +
        series(one.snapshot.metrics, name, labels)
          .filter((found) => found.labels.status >= "500")
          .reduce((all, found) => all + found.count, 0),
      0,
    );
    return {
      method,
      route,
      failed,
      rate: figures.rate(name, labels),
      total: figures.sum(name, labels),
      recent: spread(figures.recent(name, labels)),
    };
  });
  rows.sort((a, b) => b.total - a.total);
  return table({
    caption: "Requests by route",
    columns: [
      { title: "Route" },
      { title: "Rate", unit: "/s", number: true },
      { title: "p50", unit: "last 10 s", number: true },
      { title: "p99", unit: "last 10 s", number: true },
      { title: "Since start", number: true },
      { title: "5xx", unit: "since start", number: true },
    ],
    rows: rows.map((row) => ({
      key: `${row.method} ${row.route}`,
      cells: [
        [h("b", { class: "method" }, row.method), ` ${row.route}`],
        perSecond(row.rate),
        seconds(row.recent.p50),
        seconds(row.recent.p99),
        count(row.total),
        row.failed ? h("b", { class: "bad-text" }, count(row.failed)) : "0",
      ],
    })),
  });
}
