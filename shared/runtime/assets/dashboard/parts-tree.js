// The supervision tree of one process: the supervisor, its parts, and the order actors below the router.

import { h } from "./dom.js";
import { between, histogram, increase, spread, total } from "./figures.js";
import { restart } from "./actions.js";
import { age, count, pair, perSecond } from "./format.js";
import { badge } from "./pieces.js";

const DOES = {
  journal: "commits what waits, as one transaction",
  publisher: "takes events from the outbox to the log",
  loader: "reads many orders with one query",
  router: "one door to every order",
  timers: "wakes orders that have something due",
  consumer: "reads the event log",
  claims: "remembers which requests were made before",
  feed: "tells live streams what changed",
  "dead-letters": "keeps and sends again what could not be handled",
  reporter: "says once a second how the service is",
  http: "answers requests",
  order: "one for each order in play",
};

const STATES = { RUNNING: ["ok", "running"], RESTARTING: ["bad", "restarting"], STARTING: ["warn", "starting"] };

const COLUMNS = [
  { title: "Part" },
  { title: "State" },
  { title: "Restarts", number: true },
  { title: "Handled", unit: "/s", number: true },
  { title: "In mailbox now", number: true },
  { title: "Waits in mailbox", unit: "p50 / p99", number: true },
  { title: "Handling", unit: "p50 / p99", number: true },
  { title: "" },
];

function measured({ window, snapshot, isStale }, kind) {
  const seen = (name) =>
    window && !isStale
      ? between(histogram(window.now, name, { kind }), histogram(window.before, name, { kind }))
      : null;
  const handled = seen("actor_handle_seconds");
  return {
    depth: total(snapshot.metrics, "actor_mailbox_depth", { kind }),
    wait: spread(seen("actor_mailbox_wait_seconds")),
    handling: spread(handled),
    rate: window && !isStale ? (handled?.count ?? 0) / window.seconds : null,
  };
}

export function partsTree(context, service, replica, isOwn) {
  const { snapshot, isStale } = replica;
  const { parts, metrics } = snapshot;
  // Only the process that serves this page can be asked to restart something, and not the part that answers.
  const isHere = isOwn && !isStale && (context.ownReplica ? context.ownReplica === snapshot.replica : true);
  const rows = parts.map((part, i) => {
    const figures = measured(replica, part.kind);
    const isFresh = context.now.now - Date.parse(part.since) < 10_000 && part.restarts > 0;
    return row({
      key: part.kind,
      name: part.kind,
      level: 1,
      isLast: i === parts.length - 1,
      hasChildren: part.kind === "router",
      isFresh: isFresh || part.state !== "RUNNING",
      state: badge(...(STATES[part.state] ?? ["warn", part.state])),
      since: Math.max(0, (context.now.now - Date.parse(part.since)) / 1000),
      restarts: part.restarts,
      lastError: part.lastError,
      figures,
      isAlive: !isStale && part.state === "RUNNING" && figures.rate > 0,
      action:
        isHere &&
        part.kind !== "http" &&
        h(
          "button",
          {
            type: "button",
            class: "small",
            "aria-label": `Restart ${part.kind}`,
            on: { click: () => restart(part.kind) },
          },
          "Restart",
        ),
    });
  });
  const live = total(metrics, "actor_live", { kind: "order" }) ?? 0;
  const figures = measured(replica, "order");
  const window = replica.window;
  const passed =
    window && !isStale
      ? (increase(
          total(window.now, "actor_passivations_total", { kind: "order" }),
          total(window.before, "actor_passivations_total", { kind: "order" }),
        ) ?? 0) / window.seconds
      : null;
  const at = parts.findIndex((part) => part.kind === "router");
  rows.splice(
    at + 1,
    0,
    row({
      key: "order",
      name: `${count(live)} order ${live === 1 ? "actor" : "actors"}`,
      does: `${DOES.order}; ${perSecond(passed)} a second leave memory, idle`,
      level: 2,
      isLast: true,
      isUnderLast: at === parts.length - 1,
      state: badge(live > 0 ? "ok" : "calm", live > 0 ? "live" : "none"),
      restarts: total(metrics, "actor_restarts_total", { kind: "order" }) ?? 0,
      figures,
      isAlive: !isStale && figures.rate > 0,
    }),
  );
  return h(
    "div",
    {
      class: `table-frame tree ${isStale ? "stale" : ""}`,
      key: snapshot.replica,
      role: "group",
      "aria-label": `Parts of ${service.name} at ${snapshot.replica}`,
    },
    h(
      "table",
      null,
      h(
        "caption",
        null,
        h("b", null, "supervisor"),
        ` of ${service.name} at ${snapshot.replica}, up for ${age(snapshot.upSeconds)}`,
        isStale && badge("gone", `silent for ${age(replica.silence / 1000)}; this is its last state`),
      ),
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          COLUMNS.map(({ title, unit, number }) =>
            h(
              "th",
              { scope: "col", class: number && "number" },
              title || h("span", { class: "hidden" }, "Action"),
              unit && h("small", null, unit),
            ),
          ),
        ),
      ),
      h("tbody", null, rows),
    ),
  );
}

function row({
  key,
  name,
  does,
  level,
  isLast,
  isUnderLast,
  hasChildren,
  isFresh,
  state,
  since,
  restarts,
  lastError,
  figures,
  isAlive,
  action,
}) {
  const shape = ["branch", `level-${level}`, isLast && "last", isUnderLast && "under-last", hasChildren && "parent"]
    .filter(Boolean)
    .join(" ");
  const cell = (i, ...content) =>
    h(
      "td",
      {
        class: COLUMNS[i].number && "number",
        "data-label": `${COLUMNS[i].title}${COLUMNS[i].unit ? `, ${COLUMNS[i].unit}` : ""}`,
      },
      content,
    );
  return h(
    "tr",
    { key, class: isFresh ? "fresh" : "" },
    h(
      "th",
      { scope: "row" },
      h(
        "span",
        { class: shape },
        h("span", { class: `pulse ${isAlive ? "alive" : ""}`, "aria-hidden": "true" }),
        h(
          "span",
          null,
          h("b", null, name),
          h("small", null, does ?? DOES[key] ?? ""),
          lastError && h("small", { class: "error" }, `It ended last because: ${lastError}`),
        ),
      ),
    ),
    cell(1, state, since !== undefined && h("small", { class: "since" }, `for ${age(since)}`)),
    cell(2, restarts ? h("b", { class: "warn-text" }, count(restarts)) : "0"),
    cell(3, perSecond(figures.rate)),
    cell(4, count(figures.depth ?? 0)),
    cell(5, pair(figures.wait)),
    cell(6, pair(figures.handling)),
    h("td", { class: "action" }, action || null),
  );
}
