// Draws an order's swim-lane diagram, and the same as a table.

import { h } from "./dom.js";
import { clock, moment, shortName, words } from "./format.js";
import { countdown, layout, moneyTone, rowsOf, statusTone } from "./lanes.js";
import { table } from "./pieces.js";

export function diagram(timeline, order, { width, now }) {
  const places = layout(timeline, order, { width, now });
  const { lanes, step, rows, nowY, height, isNarrow, wide, status, money } = places;
  const head = (name) => Math.min(wide(name) + 20, step - 4);
  return h(
    "svg",
    {
      class: `lanes ${isNarrow ? "narrow" : ""}`,
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      "aria-hidden": "true",
    },
    h(
      "defs",
      null,
      ["said", "coming"].map((kind) =>
        h(
          "marker",
          {
            id: `arrow-${kind}`,
            viewBox: "0 0 8 8",
            refX: 7.5,
            refY: 4,
            markerWidth: 9,
            markerHeight: 9,
            markerUnits: "userSpaceOnUse",
            orient: "auto",
          },
          h("path", { class: `arrow-tip tip-${kind}`, d: "M0 0L8 4L0 8Z" }),
        ),
      ),
    ),
    lanes.map(({ name, x }) => [
      h("line", { class: "lane", x1: x, x2: x, y1: 34, y2: nowY ?? height - 12 }),
      nowY && h("line", { class: "lane coming", x1: x, x2: x, y1: nowY, y2: height - 12 }),
      h("rect", { class: `lane-head ${name}`, x: x - head(name) / 2, y: 6, width: head(name), height: 24, rx: 12 }),
      h("text", { class: "lane-name", x, y: 22, "text-anchor": "middle" }, name),
    ]),
    status.map((band) =>
      h("line", {
        class: `band ${statusTone(band.value)}`,
        x1: lanes[0].x,
        x2: lanes[0].x,
        y1: band.start,
        y2: band.end,
      }),
    ),
    money.map((band) =>
      h("line", {
        class: `band ${moneyTone(band.value)}`,
        x1: lanes[1].x,
        x2: lanes[1].x,
        y1: band.start,
        y2: band.end,
      }),
    ),
    nowY && [
      h("line", { class: "now", x1: 0, x2: width, y1: nowY, y2: nowY }),
      h("text", { class: "now-word", x: 2, y: nowY - 6 }, "now"),
    ],
    rows.map((row) => drawn(row, places)),
  );
}

function drawn(row, places) {
  const { lanes } = places;
  const { y, kind, from, ends, text, textX, time, gap } = row;
  const draw = {
    EVENT: () => [
      arrows(from, ends, y, "said"),
      h("circle", { class: "sent", cx: from, cy: y, r: 4.5 }),
      h("text", { class: "said", x: textX, y: y - 9, "text-anchor": "middle" }, text),
    ],
    COMING: () => [
      arrows(from, ends, y - 14, "coming"),
      h("circle", { class: "sent coming", cx: from, cy: y - 14, r: 4.5 }),
      h("text", { class: "said coming", x: textX, y: y - 23, "text-anchor": "middle" }, text),
      row.wait &&
        h(
          "text",
          { class: `countdown ${row.isLate ? "late" : ""}`, x: textX, y: y + 4, "text-anchor": "middle" },
          row.wait,
        ),
    ],
    REQUEST: () => [
      h("path", { class: "said", d: `M${from - 34} ${y}H${from - 6}`, "marker-end": "url(#arrow-said)" }),
      h("circle", { class: "sent", cx: from, cy: y, r: 4.5 }),
      h("text", { class: "asked", x: from + 12, y: y + 4 }, text),
    ],
    DEADLINE: () => [
      h("circle", { class: "deadline", cx: from, cy: y, r: 7 }),
      h("path", { class: "hands", d: `M${from} ${y - 4}V${y}H${from + 3}` }),
      h("text", { class: "asked late", x: from + 14, y: y + 4 }, text),
    ],
    TRANSITION: () => [
      pill(lanes[0].x, y, text, statusTone(row.status), places),
      row.money && pill(lanes[1].x, y, words(row.money), moneyTone(row.money), places),
    ],
    STATE: () => pill(lanes[1].x, y, words(row.money), moneyTone(row.money), places),
  }[kind]();
  return h(
    "g",
    { class: `row ${kind.toLowerCase()}` },
    gap && h("text", { class: "gap", x: 2, y: y - 44 }, `⋮ ${gap}`),
    time && h("text", { class: "time", x: 2, y: y + 4 }, h("title", null, moment(row.at)), time),
    draw,
  );
}

const arrows = (from, ends, y, kind) =>
  ends.map((to) =>
    h("path", {
      class: kind,
      d: `M${from + (to > from ? 5 : -5)} ${y}H${to + (to > from ? -3 : 3)}`,
      "marker-end": `url(#arrow-${kind})`,
    }),
  );

function pill(x, y, text, tone, { isNarrow, wide }) {
  // Two lines where one would run into the next lane.
  const lines = isNarrow && text.length > 9 ? text.split(" ") : [text];
  const width = Math.max(...lines.map(wide)) + (isNarrow ? 9 : 30);
  const height = 8 + lines.length * 14;
  return [
    h("rect", {
      class: `pill ${tone}`,
      x: x - width / 2,
      y: y - height / 2,
      width,
      height,
      rx: Math.min(11, height / 2),
    }),
    lines.map((line, i) =>
      h(
        "text",
        { class: `pill-word ${tone}`, x, y: y + 4 + (i - (lines.length - 1) / 2) * 14, "text-anchor": "middle" },
        line,
      ),
    ),
  ];
}

const KINDS = {
  REQUEST: "request of a caller",
  DEADLINE: "by the clock",
  TRANSITION: "how the order stands now",
  STATE: "how the money stands now",
};

export function entries(timeline, order, now) {
  const rows = rowsOf(timeline, order).map((row, i) => ({
    key: i,
    cells: [
      clock(row.at),
      row.kind === "EVENT"
        ? [
            row.name,
            h("small", null, `event, sent by ${shortName(row.service)}`),
            h("small", { class: "event-id" }, row.eventId),
          ]
        : [words(row.kind === "STATE" ? row.money : row.name), h("small", null, KINDS[row.kind])],
      words(row.status),
      words(row.moneyNow),
    ],
  }));
  const coming = timeline.next.map((step, i) => ({
    key: `next-${i}`,
    class: "coming",
    cells: [
      countdown(step.deadline, now) || "later",
      [step.events.join(" or "), h("small", null, `still to come, from ${shortName(step.service)}`)],
      "",
      "",
    ],
  }));
  return table({
    caption: "Timeline of the order, with the steps still to come",
    columns: [{ title: "Time" }, { title: "What" }, { title: "Order" }, { title: "Money" }],
    rows: [...rows, ...coming],
  });
}
