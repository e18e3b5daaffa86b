// Moving charts, drawn by uPlot, which index.html loads before this.

import { h } from "./dom.js";
import { count, perSecond, seconds } from "./format.js";
import { quantile } from "./figures.js";
import { SPAN } from "./history.js";

const p50 = (seen) => quantile(seen, 0.5);
const p99 = (seen) => quantile(seen, 0.99);
const line = (label, color, measure, pick) => ({ label, color, measure, pick });
const latency = (measure) => [line("p50", "--line-1", measure, p50), line("p99", "--line-2", measure, p99)];
const perService = (measure) =>
  ["order", "payment", "inventory", "notification"].map((name) => ({
    label: name,
    color: `--${name}`,
    measure,
    service: `${name}-service`,
  }));

const ORDERS = {
  title: "Orders",
  unit: "per second",
  format: perSecond,
  lines: [
    line("accepted", "--line-1", "accepted"),
    line("confirmed", "--ok", "confirmed"),
    line("failed", "--bad", "failed"),
    line("cancelled", "--warn", "cancelled"),
  ],
};
const POST = { title: "Answer to POST /api/orders", unit: "time", format: seconds, lines: latency("post") };

export const SYSTEM_CHARTS = [
  ORDERS,
  { title: "Accepted until confirmed", unit: "time", format: seconds, lines: latency("duration") },
  POST,
  {
    title: "Journal commit, p99",
    unit: "time",
    format: seconds,
    lines: perService("commit").map((one) => ({ ...one, pick: p99 })),
  },
  { title: "Outbox", unit: "events not yet on the log", format: count, lines: perService("outbox") },
  { title: "Consumer lag", unit: "messages", format: count, lines: perService("lag") },
];

const common = [
  { title: "Journal commit", unit: "time", format: seconds, lines: latency("commit") },
  { title: "Time in a mailbox, all actors", unit: "time", format: seconds, lines: latency("wait") },
  { title: "Outbox", unit: "events not yet on the log", format: count, lines: [line("pending", "--line-1", "outbox")] },
  { title: "Consumer lag, all topics", unit: "messages", format: count, lines: [line("behind", "--line-1", "lag")] },
  { title: "Order actors in memory", unit: "actors", format: count, lines: [line("live", "--line-1", "live")] },
];
const committed = {
  title: "Events committed",
  unit: "per second",
  format: perSecond,
  lines: [line("events", "--line-1", "events")],
};
const http = { title: "HTTP answers, all routes", unit: "time", format: seconds, lines: latency("http") };
const sent = {
  title: "Notices sent",
  unit: "per second",
  format: perSecond,
  lines: [line("sent", "--line-1", "notices")],
};

export const serviceCharts = (service) =>
  ({
    "order-service": [ORDERS, POST, ...common.slice(0, 4)],
    "notification-service": [sent, ...common],
  })[service] ?? [committed, http, ...common.slice(0, 4)];

const drawn = new Set();
addEventListener("themechange", () => {
  for (const chart of drawn) chart.stop();
});

class Chart {
  constructor(element, spec) {
    Object.assign(this, { element, spec });
    drawn.add(this);
  }

  stop() {
    this.plot?.destroy();
    this.plot = null;
  }

  #start(width, data) {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: color("--muted"),
      grid: { stroke: color("--grid"), width: 1 },
      ticks: { show: false },
      font: "11px system-ui, sans-serif",
    };
    const ago = (second, last) => (last - second < 5 ? "now" : `−${Math.round((last - second) / 60)} min`);
    this.plot = new uPlot(
      {
        width,
        height: 132,
        legend: { show: false },
        cursor: { show: false },
        padding: [8, 16, 0, 0],
        scales: {
          x: { time: false },
          y: { range: (_, low, high) => [0, Math.max((high ?? 0) * 1.1, this.spec.format === seconds ? 0.002 : 4)] },
        },
        axes: [
          {
            ...axis,
            size: 22,
            gap: 4,
            splits: ({ data: [x] }) => [4, 3, 2, 1, 0].map((minute) => x.at(-1) - minute * 60),
            values: ({ data: [x] }, at) => at.map((second) => ago(second, x.at(-1))),
          },
          {
            ...axis,
            size: 58,
            gap: 6,
            space: 34,
            values: (_, at) =>
              at.map((value) => (value === 0 ? "0" : this.spec.format(value).replace(/\.0+(?=\D|$)/, ""))),
          },
        ],
        series: [
          {},
          ...this.spec.lines.map((one) => ({
            stroke: color(one.color),
            width: 1.75,
            points: { show: false },
            spanGaps: false,
          })),
        ],
      },
      data,
      this.element,
    );
  }

  show(data) {
    const width = this.element.clientWidth;
    if (width === 0) return;
    if (this.plot && this.plot.width !== width) this.stop();
    if (this.plot) this.plot.setData(data);
    else this.#start(width, data);
  }
}

/** The charts of one service, or of all. Those that have left the page are forgotten. */
export function charts(specs, history, now, service) {
  for (const chart of drawn) {
    if (chart.element.isConnected) continue;
    chart.stop();
    drawn.delete(chart);
  }
  const last = Math.floor(now / 1000);
  const x = Array.from({ length: SPAN / 1000 + 1 }, (_, i) => last - SPAN / 1000 + i);
  return h(
    "div",
    { class: "charts" },
    specs.map((spec) =>
      figure(
        spec,
        spec.lines.map((one) => history.line(one.measure, one.service ?? service, now, one.pick)),
        x,
      ),
    ),
  );
}

function figure(spec, lines, x) {
  const latest = (values) => values.at(-1) ?? values.at(-2) ?? null;
  const isEmpty = lines.every((values) => values.every((value) => value === null));
  return h(
    "figure",
    { class: "chart", key: spec.title },
    h("figcaption", null, h("strong", null, spec.title), ` ${spec.unit}`),
    h(
      "ul",
      { class: "legend" },
      spec.lines.map((one, i) =>
        h(
          "li",
          null,
          h("span", { class: "swatch", vars: { "--c": `var(${one.color})` } }),
          `${one.label} `,
          h("b", null, spec.format(latest(lines[i]))),
        ),
      ),
    ),
    h("div", {
      class: "plot",
      "aria-hidden": "true",
      mount: (element) => (element.$chart = new Chart(element, spec)),
      fresh: (element) => element.$chart.show([x, ...lines]),
    }),
    isEmpty && h("p", { class: "plot-empty" }, "Nothing recorded in the last 5 minutes"),
  );
}
