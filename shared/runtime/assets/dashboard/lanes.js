// Where everything of an order's timeline stands in its swim-lane diagram: time runs down, a lane for each service.
// Pure: from the timeline to places and words; order-lanes.js draws them.

import { age, seconds, words } from "./format.js";

const LANES = ["order", "payment", "inventory", "notification"];
const lane = (service) => LANES.indexOf(service.replace(/-service$/, ""));

/** Which services read an event. */
const READERS = {
  OrderCreated: ["payment", "inventory"],
  PaymentConfirmed: ["order", "inventory"],
  PaymentFailed: ["order"],
  InventoryReserved: ["order"],
  InventoryFailed: ["order"],
  PaymentRefundRequested: ["order", "payment"],
  OrderConfirmed: ["notification"],
  OrderFailed: ["payment", "inventory", "notification"],
  OrderCancelled: ["payment", "inventory", "notification"],
  PaymentRefunded: ["order", "inventory", "notification"],
  InventoryReleased: ["order"],
};
const readers = (event) => (READERS[event] ?? []).map((name) => LANES.indexOf(name));

const STATUS_TONES = { PENDING: "wait", CONFIRMED: "good", FAILED: "bad", CANCELLED: "back" };
const MONEY_TONES = { UNKNOWN: "none", NONE: "none", CHARGED: "good", REFUND_DUE: "back", REFUNDED: "done" };
export const statusTone = (status) => STATUS_TONES[status] ?? "wait";
export const moneyTone = (money) => MONEY_TONES[money] ?? "none";

const HEIGHTS = { REQUEST: 48, EVENT: 48, DEADLINE: 44, TRANSITION: 40, STATE: 40, NOW: 42, COMING: 62 };
/** A silence of this length is shown as a gap. */
const LONG = 1_000;
const GAP = 24;
const TOP = 44;

function versions(entries) {
  const groups = [];
  for (const entry of entries) {
    if (groups.at(-1)?.version !== entry.version) groups.push({ version: entry.version, entries: [] });
    groups.at(-1).entries.push(entry);
  }
  return groups;
}

/** What happened, one row each, with what it made of status and money. `order` as it stands tells how the last one ended. */
export function rowsOf(timeline, order) {
  const rows = [];
  let money = "UNKNOWN";
  const groups = versions(timeline.entries);
  groups.forEach((group, i) => {
    const transition = group.entries.find((entry) => entry.kind === "TRANSITION");
    // An entry says what was known before its step, a transition what was known after it.
    const isKnown = order && order.version === group.version;
    const after =
      transition?.money ?? groups[i + 1]?.entries[0].money ?? (isKnown ? order.money : group.entries.at(-1).money);
    const change = after !== money ? after : undefined;
    for (const entry of group.entries) {
      rows.push({
        ...entry,
        lane: lane(entry.service),
        to: entry.kind === "EVENT" ? readers(entry.name) : [],
        money: entry === transition ? change : undefined,
        moneyNow: entry === group.entries[0] && transition ? money : after,
      });
    }
    if (change && !transition)
      rows.push({
        at: group.entries.at(-1).at,
        kind: "STATE",
        lane: lane("payment"),
        to: [],
        name: "",
        status: group.entries.at(-1).status,
        money: change,
        moneyNow: after,
      });
    money = after;
  });
  return rows;
}

export function offset(millis) {
  if (millis < 1000) return millis === 0 ? "0" : `+${Math.round(millis)} ms`;
  return `+${millis < 60_000 ? seconds(millis / 1000) : age(millis / 1000)}`;
}

const label = (row) => (row.kind === "EVENT" ? row.name : words(row.name));

/** How long a step is still waited for, in words. */
export function countdown(deadline, now) {
  if (!deadline) return "";
  const left = (Date.parse(deadline) - now) / 1000;
  return left >= 0 ? `within ${age(left)}` : `deadline passed ${age(-left)} ago`;
}

/** The diagram, `width` wide, at the moment `now` (milliseconds): lanes, rows with their places, and its height. */
export function layout(timeline, order, { width, now }) {
  const isNarrow = width < 560;
  const gutter = isNarrow ? 46 : 96;
  const step = (width - gutter) / LANES.length;
  const lanes = LANES.map((name, i) => ({ name, x: Math.round(gutter + step * (i + 0.5)) }));
  const letter = isNarrow ? 5.9 : 6.7;
  const wide = (text) => text.length * letter;
  // Words stand in the middle of their arrow, or as near as the edges allow.
  const middle = (text, from, to) => {
    const half = wide(text) / 2;
    return Math.min(Math.max((from + to) / 2, half + 2), width - half - 2);
  };
  const x = (index) => lanes[index].x;
  const rows = [];
  const first = timeline.entries.length ? Date.parse(timeline.entries[0].at) : now;
  let y = TOP;
  let before = first;
  let told = "";

  const place = (kind, row, text) => {
    y += HEIGHTS[kind];
    const ends = row.to.map(x);
    const from = x(row.lane);
    rows.push({
      ...row,
      y,
      kind,
      from,
      ends,
      text,
      textX: middle(text, Math.min(from, ...ends), Math.max(from, ...ends)),
    });
  };

  for (const row of rowsOf(timeline, order)) {
    const at = Date.parse(row.at);
    const gap = at - before > LONG ? seconds((at - before) / 1000) : undefined;
    if (gap) y += GAP;
    const time = offset(at - first);
    place(row.kind, { ...row, gap, time: time === told ? "" : time }, label(row));
    told = time;
    before = at;
  }
  const nowY = timeline.next.length ? (y += HEIGHTS.NOW) - 10 : undefined;
  for (const coming of timeline.next) {
    const events = coming.events;
    place(
      "COMING",
      {
        lane: lane(coming.service),
        to: readers(events[0]),
        deadline: coming.deadline,
        wait: countdown(coming.deadline, now),
        isLate: coming.deadline && Date.parse(coming.deadline) < now,
      },
      events.join(" or "),
    );
  }
  const height = y + 28;
  return {
    lanes,
    step,
    rows,
    nowY,
    height,
    isNarrow,
    wide,
    status: bands(rows, "status", height, nowY),
    money: bands(rows, "money", height, nowY),
  };
}

/** A lane's colour over time: of the order lane by status, of the payment lane by money. */
function bands(rows, what, height, nowY) {
  const found = [];
  for (const row of rows) {
    const value = what === "status" ? row.kind === "TRANSITION" && row.status : row.money;
    if (!value) continue;
    if (found.length) found.at(-1).end = row.y;
    found.push({ value, start: row.y, end: nowY ?? height - 12 });
  }
  return found;
}
