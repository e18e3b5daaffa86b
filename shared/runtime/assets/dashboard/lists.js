// What needs somebody, as lists with what can be done: read from our own origin only.

import { discard, redrive, resend, resolveAttention, resolveRefund, retryRefund } from "./actions.js";
import { h } from "./dom.js";
import { age, count, moment, money, plural, words } from "./format.js";
import { statusTone } from "./lanes.js";
import { badge, empty, placeOf, table, viewOf } from "./pieces.js";
import { read } from "./stream.js";

/** Lists are read again so often while they are looked at, and at once when their number changes. */
const EVERY = 10_000;
const kept = new Map();

/** What was last read from a path; starts reading when that is old, and has the page drawn again with it. */
function list(context, path, marker) {
  const now = Date.now();
  if (!kept.has(path)) kept.set(path, { readAt: 0 });
  const one = kept.get(path);
  if (!one.isReading && (now - one.readAt > EVERY || one.marker !== marker)) {
    Object.assign(one, { isReading: true, marker });
    read(path)
      .then((body) => Object.assign(one, { body, error: null }))
      .catch((error) => Object.assign(one, { error: error.message }))
      .finally(() => {
        Object.assign(one, { isReading: false, readAt: Date.now() });
        context.draw();
      });
  }
  return one;
}

const again = (context) => (isDone) => {
  if (!isDone) return;
  for (const one of kept.values()) one.readAt = 0;
  context.draw();
};

function elsewhere(service, part, value, none) {
  return value
    ? h(
        "p",
        null,
        h(
          "a",
          { href: `${service.url}${viewOf(service.name, part)}` },
          `${count(value)} open: see them on the dashboard of ${service.name}`,
        ),
      )
    : empty(none);
}

function shown(one, of, show) {
  if (one.error) return h("p", { class: "reason" }, one.error);
  return one.body ? show(of(one.body)) : empty("Reading …");
}

const button = (text, click, tone = "") => h("button", { type: "button", class: `small ${tone}`, on: { click } }, text);
const orderLink = (context, id) =>
  id && /^[0-9a-f-]{36}$/i.test(id)
    ? h(
        "a",
        { class: "id", href: `${placeOf(context, "order-service").split("/dashboard")[0]}/dashboard/orders/${id}` },
        id,
      )
    : (id ?? "–");

export function stuckList(context, service, isOwn) {
  const none = "No order is past its deadline.";
  const open = service.figures.shared("orders_stuck") ?? 0;
  if (!isOwn) return elsewhere(service, "stuck", open, none);
  return shown(
    list(context, "/api/orders?stuck=true&limit=50", open),
    (body) => body.orders,
    (orders) =>
      orders.length === 0
        ? empty(none)
        : table({
            caption: "Orders that are past their deadline and still wait",
            columns: [
              { title: "Order" },
              { title: "Waits for" },
              { title: "Past its deadline for", number: true },
              { title: "Customer" },
              { title: "Amount", number: true },
            ],
            rows: orders.map((order) => ({
              key: order.orderId,
              cells: [
                orderLink(context, order.orderId),
                words((order.stage ?? "").replace("AWAITING_", "")),
                order.deadline ? age((context.now.now - Date.parse(order.deadline)) / 1000) : "–",
                order.customerId,
                money(order.totalAmount, order.currency),
              ],
            })),
          }),
  );
}

const STATUSES = ["PENDING", "CONFIRMED", "FAILED", "CANCELLED"];

/** The newest orders, all or those of one status: the way to the page of one. */
export function orderList(context, service, isOwn, status) {
  if (!isOwn)
    return h(
      "p",
      null,
      h(
        "a",
        { href: `${service.url}${viewOf(service.name, "orders")}` },
        `See them on the dashboard of ${service.name}`,
      ),
    );
  const chosen = STATUSES.includes(status) ? status : undefined;
  const choice = (text, which) =>
    h(
      "li",
      null,
      h(
        "a",
        {
          href: viewOf(service.name, which ? `orders/${which}` : "orders"),
          "aria-current": which === chosen && "true",
        },
        text,
      ),
    );
  const choices = h(
    "ul",
    { class: "choices", "aria-label": "Which orders" },
    choice("all", undefined),
    STATUSES.map((which) => choice(which.toLowerCase(), which)),
  );
  const path = `/api/orders?limit=20${chosen ? `&status=${chosen}` : ""}`;
  const content = shown(
    list(context, path),
    (body) => body.orders,
    (orders) =>
      orders.length === 0
        ? empty(
            chosen ? "There is none." : ["No orders yet. ", h("a", { href: "/docs" }, "Place one in Swagger UI"), "."],
          )
        : table({
            caption: `Newest orders${chosen ? `, ${chosen.toLowerCase()}` : ""}`,
            columns: [
              { title: "Order" },
              { title: "Status" },
              { title: "Money" },
              { title: "Customer" },
              { title: "Amount", number: true },
              { title: "Placed", number: true },
            ],
            rows: orders.map((order) => ({
              key: order.orderId,
              cells: [
                orderLink(context, order.orderId),
                [
                  badge(`pill-${statusTone(order.status)}`, order.status.toLowerCase()),
                  order.stage && h("small", null, words(order.stage)),
                  order.reason && h("small", null, words(order.reason.code)),
                ],
                words(order.money),
                order.customerId,
                money(order.totalAmount, order.currency),
                moment(order.createdAt),
              ],
            })),
          }),
  );
  return [choices, content];
}

export const attentionList = (context, service, isOwn) =>
  (service.name === "payment-service" ? paymentList : noticeList)(context, service, isOwn);

// What is over when somebody has looked at it.
const FOR_PEOPLE = ["REFUNDED_TWICE", "REQUEST_REFUSED"];

function paymentList(context, service, isOwn) {
  const none = "Every payment settles by itself.";
  const open = service.figures.shared("payments_needing_attention") ?? 0;
  if (!isOwn) return elsewhere(service, "attention", open, none);
  const done = again(context);
  const actions = (payment) => {
    const codes = payment.attentionReasons ?? [];
    const refund = codes.some((code) => code.startsWith("REFUND_"));
    return [
      refund && button("Ask the provider again", () => retryRefund(payment).then(done)),
      refund && button("Given back by other means", () => resolveRefund(payment).then(done)),
      codes.some((code) => FOR_PEOPLE.includes(code)) &&
        button("Looked at", () => resolveAttention(payment).then(done)),
      codes.includes("CHARGE_WITHOUT_OUTCOME") &&
        h("span", { class: "hint" }, "It is asked on until the provider answers; look whether the provider is up."),
    ];
  };
  return shown(
    list(context, "/api/payments?attention=true", open),
    (body) => body.payments,
    (payments) =>
      payments.length === 0
        ? empty(none)
        : table({
            caption: "Payments that need attention",
            kind: "stack",
            columns: [
              { title: "Payment" },
              { title: "What is wrong" },
              { title: "Amount", number: true },
              { title: "Since", number: true },
              { title: "What can be done" },
            ],
            rows: payments.map((payment) => ({
              key: payment.paymentId,
              cells: [
                [
                  h("span", { class: "id" }, payment.paymentId),
                  h("small", null, "order ", orderLink(context, payment.orderId)),
                ],
                [
                  payment.attention ?? "–",
                  h("small", null, [
                    (payment.attentionReasons ?? []).map(words).join(", "),
                    payment.attempts &&
                      `; ${plural(payment.attempts.count, "attempt")}, last: ${payment.attempts.lastError}`,
                  ]),
                ],
                money(payment.amount, payment.currency),
                moment(payment.updatedAt),
                h("div", { class: "actions" }, actions(payment)),
              ],
            })),
          }),
  );
}

function noticeList(context, service, isOwn) {
  const none = "No notice was given up.";
  const open = service.figures.shared("notices_needing_attention") ?? 0;
  if (!isOwn) return elsewhere(service, "attention", open, none);
  const done = again(context);
  return shown(
    list(context, "/api/notifications?status=FAILED&limit=50", open),
    (body) => body.notifications,
    (notices) =>
      notices.length === 0
        ? empty(none)
        : table({
            caption: "Notices that could not be delivered",
            kind: "stack",
            columns: [{ title: "Notice" }, { title: "To" }, { title: "What was wrong" }, { title: "What can be done" }],
            rows: notices.map((one) => ({
              key: one.notificationId,
              cells: [
                [
                  `${words(one.occasion)}, by ${words(one.channel)}`,
                  h("small", null, "order ", orderLink(context, one.orderId)),
                ],
                one.recipient ?? one.customerId,
                one.attempts
                  ? [one.attempts.lastError ?? "–", h("small", null, plural(one.attempts.count, "attempt"))]
                  : "–",
                h(
                  "div",
                  { class: "actions" },
                  button("Send again", () => resend(one).then(done)),
                ),
              ],
            })),
          }),
  );
}

export function deadLetterList(context, service, isOwn) {
  const none = "There is no open dead letter: every message could be handled.";
  const open = service.figures.shared("dead_letters_open") ?? 0;
  const waiting = service.figures.sum("dead_letters_waiting") ?? 0;
  const held =
    waiting > 0 &&
    h("p", { class: "reason" }, `${plural(waiting, "dead letter")} cannot be written to the log; the partition waits.`);
  if (!isOwn) return [held, elsewhere(service, "dead-letters", open, none)];
  const done = again(context);
  return [
    held,
    shown(
      list(context, "/api/dead-letters?state=OPEN&limit=50", open),
      (body) => body.deadLetters,
      (letters) =>
        letters.length === 0
          ? empty(none)
          : [
              open > letters.length &&
                h("p", { class: "hint" }, `The newest ${count(letters.length)} of ${count(open)}.`),
              h(
                "p",
                { class: "hint" },
                "Many at once, or corrected: ",
                h("a", { href: "/docs" }, "POST /api/dead-letters/redrive in Swagger UI"),
                ".",
              ),
              table({
                caption: "Open dead letters",
                kind: "stack",
                columns: [
                  { title: "Message" },
                  { title: "What was wrong" },
                  { title: "Died", number: true },
                  { title: "What can be done" },
                ],
                rows: letters.map((letter) => ({
                  key: letter.id,
                  cells: [
                    [
                      h("b", null, letter.topic),
                      ` ${letter.partition}:${letter.offset}`,
                      h(
                        "small",
                        null,
                        "key ",
                        letter.keyEncoding === "BASE64" ? letter.key : orderLink(context, letter.key),
                      ),
                      payload(context, letter),
                    ],
                    [
                      letter.reason,
                      h(
                        "small",
                        null,
                        plural(letter.attempts, "attempt"),
                        letter.redriven ? `, sent again ${letter.redriven} times` : "",
                      ),
                      letter.redriveRequestedAt && badge("warn", "waits to be sent"),
                      letter.redriveFailure && h("small", { class: "error" }, letter.redriveFailure),
                    ],
                    moment(letter.diedAt),
                    h(
                      "div",
                      { class: "actions" },
                      button("Send again", () => redrive(letter).then(done)),
                      button("Discard", () => discard(letter).then(done)),
                    ),
                  ],
                })),
              }),
            ],
    ),
  ];
}

/** The message itself is read when somebody opens it. */
const payloads = new Map();
function payload(context, { id }) {
  const opened = async (event) => {
    if (!event.target.open || payloads.has(id)) return;
    payloads.set(id, "Reading …");
    const said = await read(`/api/dead-letters/${id}`).catch((error) => ({ payload: error.message }));
    payloads.set(id, said.payload ?? "(no value: a tombstone)");
    context.draw();
  };
  return h(
    "details",
    { on: { toggle: opened } },
    h("summary", null, "Message"),
    h("pre", null, payloads.get(id) ?? ""),
  );
}
