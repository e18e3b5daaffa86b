// The page of one order: how it stands, its swim lanes, its timeline as a list. It follows the order's own stream.

import { cancelOrder } from "./actions.js";
import { h } from "./dom.js";
import { amount, moment, money, seconds, words } from "./format.js";
import { statusTone } from "./lanes.js";
import { diagram, entries } from "./order-lanes.js";
import { badge, empty, facts, section, table } from "./pieces.js";
import { follow, read } from "./stream.js";

let current = null;

export function leaveOrder() {
  current?.controller.abort();
  current = null;
}

function open(context, id) {
  const opened = { id, controller: new AbortController() };
  const path = `/api/orders/${encodeURIComponent(id)}`;
  const reload = async () => {
    if (opened.isReading) {
      opened.isStale = true;
      return;
    }
    opened.isReading = true;
    try {
      const [order, timeline] = await Promise.all([read(path), read(`${path}/timeline`)]);
      Object.assign(opened, { order, timeline, error: null });
      context.announce(
        `Order ${order.status.toLowerCase()}${order.stage ? `, ${words(order.stage)}` : ""}. Money: ${words(order.money)}.`,
      );
    } catch (error) {
      opened.error = error;
    }
    opened.isReading = false;
    context.draw();
    if (opened.isStale) {
      opened.isStale = false;
      if (opened === current) reload();
    }
  };
  opened.reload = reload;
  reload().then(() => {
    // What is not there has no stream.
    if (!opened.error && opened === current)
      follow(`${path}/events`, opened.controller.signal, reload, (isConnected) => (opened.isConnected = isConnected));
  });
  return opened;
}

export function orderView(context, id) {
  if (!context.own) return empty("Connecting …");
  if (context.own !== "order-service") {
    const url = context.now.services.find(({ name }) => name === "order-service")?.url;
    const path = `/dashboard/orders/${encodeURIComponent(id)}`;
    return [
      h("h1", null, "Order"),
      url
        ? h(
            "p",
            null,
            "order-service has the timelines: ",
            h("a", { href: `${url}${path}` }, "see this order on its dashboard"),
            ".",
          )
        : empty("Only order-service has the timelines, and it has not been heard of."),
    ];
  }
  if (current?.id !== id) {
    leaveOrder();
    current = open(context, id);
  }
  const { order, timeline, error } = current;
  if (!order)
    return [
      h("h1", { key: "h" }, "Order ", h("span", { class: "id" }, id)),
      error ? missing(error) : empty("Reading …"),
    ];
  const isOpen = order.status === "PENDING" || order.status === "CONFIRMED";
  return [
    h(
      "div",
      { class: "title", key: "title" },
      h("h1", null, "Order ", h("span", { class: "id" }, id)),
      h(
        "p",
        { class: "states" },
        badge(`pill-${statusTone(order.status)}`, order.status.toLowerCase()),
        order.stage && badge("calm", words(order.stage)),
        badge("calm", `money: ${words(order.money)}`),
      ),
      order.reason && h("p", { class: "summary bad" }, `${order.reason.message} `, h("small", null, order.reason.code)),
      error && h("p", { class: "reason" }, `It could not be read again: ${error.message}`),
    ),
    section(
      "lanes",
      "What happened, and what is to come",
      h(
        "p",
        { class: "hint" },
        "Time runs down. Each arrow is an event on the log, from the service that sent it to those that read it; times are when order-service took note. The line of the order lane shows its status, that of the payment lane the money.",
      ),
      timeline.entries.length === 0 && empty("This order is from before there were timelines."),
      h("div", { class: "lanes-frame", mount: () => {}, fresh: (frame) => fresh(frame, context) }),
    ),
    section(
      "facts",
      "The order",
      h(
        "div",
        { class: "columns" },
        h(
          "div",
          null,
          facts([
            ["Customer", order.customerId],
            ["Amount", money(order.totalAmount, order.currency)],
            ["Placed", moment(order.createdAt)],
            order.status === "PENDING"
              ? ["Deadline", order.deadline ? moment(order.deadline) : "none"]
              : [
                  "Took until the last change",
                  seconds((Date.parse(order.updatedAt) - Date.parse(order.createdAt)) / 1000),
                ],
            ["Correlation id", h("span", { class: "id" }, order.correlationId)],
            ["Version", order.version],
          ]),
        ),
        h(
          "div",
          null,
          table({
            caption: "Lines of the order",
            columns: [
              { title: "Product" },
              { title: "Quantity", number: true },
              { title: "Unit price", unit: order.currency, number: true },
            ],
            rows: order.items.map((item, i) => ({
              key: i,
              cells: [
                item.productId,
                item.quantity.toLocaleString("en"),
                amount(item.unitPrice),
              ],
            })),
          }),
        ),
      ),
      h("p", null, elsewhere(context, id)),
      isOpen &&
        h(
          "p",
          null,
          h(
            "button",
            {
              type: "button",
              class: "small",
              on: { click: () => cancelOrder(order).then((isDone) => isDone && current?.reload()) },
            },
            "Cancel this order",
          ),
        ),
    ),
    section("timeline", "The timeline as a list", entries(timeline, order, context.now.now)),
  ];
}

function missing(error) {
  if (error.status === 404 || error.status === 400)
    return h(
      "div",
      { class: "panel" },
      h(
        "p",
        null,
        h("b", null, "There is no order with this id."),
        " It is a UUID, as POST /api/orders answers it. Was it placed at another system, or mistyped? ",
        h("a", { href: "/dashboard#/services/order-service/orders" }, "See the newest orders"),
        ".",
      ),
    );
  return h("p", { class: "summary bad" }, `The order cannot be read: ${error.message}`);
}

/** What the other services know of it, as their API answers. */
function elsewhere(context, id) {
  const at = (name) => context.now.services.find((service) => service.name === name)?.url;
  const links = [
    ["payment-service", "its payment", `/api/payments?orderId=${id}`],
    ["inventory-service", "its reservation", `/api/reservations?orderId=${id}`],
    ["notification-service", "its notices", `/api/notifications?orderId=${id}`],
  ].filter(([name]) => at(name));
  return [
    "As JSON: ",
    h("a", { href: `/api/orders/${id}` }, "the order"),
    ", ",
    h("a", { href: `/api/orders/${id}/timeline` }, "its timeline"),
    links.map(([name, text, path]) => [", ", h("a", { href: `${at(name)}${path}` }, text)]),
    ".",
  ];
}

/** The diagram is as wide as there is room, so it is laid out when that is known. */
function fresh(frame, context) {
  const width = frame.clientWidth;
  if (width && current?.timeline)
    context.patch(frame, [diagram(current.timeline, current.order, { width, now: context.now.now })]);
}
