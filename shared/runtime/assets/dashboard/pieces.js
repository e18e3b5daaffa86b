// Pieces that several views share.

import { h } from "./dom.js";
import { age, count } from "./format.js";

const CONDITIONS = {
  UP: ["ok", "Up"],
  DEGRADED: ["warn", "Degraded"],
  DOWN: ["bad", "Down"],
  SILENT: ["gone", "Not heard of"],
};

export const badge = (tone, text) => h("span", { class: `badge ${tone}` }, text);

export function conditionBadge(condition) {
  return badge(...CONDITIONS[condition]);
}
export const conditionTone = (condition) => CONDITIONS[condition][0];
export const conditionWords = (condition) => CONDITIONS[condition][1];

const CHECKS = {
  database: "Database",
  eventLog: "Event log",
  actors: "Actors",
  provider: "Payment provider",
  outbox: "Outbox",
  progress: "Progress",
};
export const checkName = (check) => CHECKS[check] ?? check;

/** What is wrong with a service, a sentence for each thing; none if nothing is. */
export function reasons(service) {
  const several = service.replicas.length > 1;
  const seen = new Map();
  for (const one of service.replicas) {
    const who = several ? ` (${one.snapshot.replica})` : "";
    if (one.isStale)
      seen.set(
        `Not heard of for ${age(one.silence / 1000)}${who}: it was killed, or its way to the event log is cut.`,
        true,
      );
    else
      for (const [check, said] of Object.entries(one.snapshot.checks))
        if (said !== "ok") seen.set(`${checkName(check)}: ${said}${who}`, true);
  }
  return [...seen.keys()];
}

/** A figure with what it is, and a link to what can be done. */
export function tile({ label, value, tone, href, note, key = label }) {
  const inside = [
    h("span", { class: "tile-value" }, typeof value === "number" || value === null ? count(value) : value),
    h("span", { class: "tile-label" }, label),
    note && h("span", { class: "tile-note" }, note),
  ];
  return href
    ? h("a", { class: `tile ${tone ?? ""}`, href, key }, inside)
    : h("div", { class: `tile ${tone ?? ""}`, key }, inside);
}

/** Pairs of a name and a value. */
export function facts(pairs) {
  return h(
    "dl",
    { class: "facts" },
    pairs.filter(Boolean).map(([name, ...value]) => h("div", { key: name }, h("dt", null, name), h("dd", null, value))),
  );
}

export function section(id, title, ...content) {
  return h(
    "section",
    { class: "panel", id, key: id, "aria-labelledby": `${id}-title` },
    h("h2", { id: `${id}-title`, tabindex: "-1" }, title),
    content,
  );
}

/** `columns`: the heads, with `number: true` for those aligned right. Rows: { key, class, cells }; the first cell is the row's head. */
export function table({ caption, columns, rows, kind }) {
  return h(
    "div",
    { class: `table-frame ${kind ?? ""}`, role: "group", "aria-label": caption },
    h(
      "table",
      null,
      h("caption", { class: "hidden" }, caption),
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          columns.map((column) =>
            h(
              "th",
              { scope: "col", class: column.number && "number" },
              column.title,
              column.unit && h("small", null, column.unit),
            ),
          ),
        ),
      ),
      h(
        "tbody",
        null,
        rows.map((row) =>
          h(
            "tr",
            { key: row.key, class: row.class },
            row.cells.map((cell, i) =>
              i === 0
                ? h("th", { scope: "row", class: row.headClass }, cell)
                : h("td", { class: columns[i].number && "number", "data-label": columns[i].title }, cell),
            ),
          ),
        ),
      ),
    ),
  );
}

export const empty = (...words) => h("p", { class: "empty" }, words);

/** Where a service's view is: on this page, or for what only that service can do, on its own. */
export const viewOf = (service, part) => `/dashboard#/services/${service}${part ? `/${part}` : ""}`;
export function placeOf(context, service, part) {
  const url = context.now.services.find((one) => one.name === service)?.url;
  return service === context.own || !url ? viewOf(service, part) : `${url}${viewOf(service, part)}`;
}
