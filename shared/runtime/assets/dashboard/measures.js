// What the charts show over five minutes. Pure: each is taken from two sets of metrics, some seconds apart.

import { between, histogram, increase, total } from "./figures.js";

const sum = (values) => values.reduce((all, value) => all + value, 0);
const most = (values) => Math.max(...values);

/** Of replicas' values, one. What each replica reads from the database that they share is not added up. */
const gauge = (name, labels, join) => ({ of: (now) => total(now, name, labels), join });
const own = (name, labels) => gauge(name, labels, sum);
const shared = (name, labels) => gauge(name, labels, most);
const rate = (name, labels) => ({
  of: (now, before, seconds) => {
    const grown = increase(total(now, name, labels), total(before, name, labels));
    return grown === null ? null : grown / seconds;
  },
  join: sum,
  isOverTime: true,
});
const times = (name, labels) => ({
  of: (now, before) => between(histogram(now, name, labels), histogram(before, name, labels)),
  isHistogram: true,
  isOverTime: true,
});

export const MEASURES = {
  accepted: rate("orders_total", { status: "PENDING" }),
  confirmed: rate("orders_total", { status: "CONFIRMED" }),
  failed: rate("orders_total", { status: "FAILED" }),
  cancelled: rate("orders_total", { status: "CANCELLED" }),
  duration: times("order_duration_seconds", { outcome: "CONFIRMED" }),
  post: times("http_request_duration_seconds", { method: "POST", route: "/api/orders" }),
  http: times("http_request_duration_seconds"),
  requests: rate("http_request_duration_seconds"),
  events: rate("saga_events_total"),
  notices: rate("notice_deliveries_total", { outcome: "sent" }),
  commit: times("journal_commit_seconds"),
  batch: times("journal_batch_size"),
  wait: times("actor_mailbox_wait_seconds"),
  handle: times("actor_handle_seconds"),
  publishDelay: times("outbox_publish_delay_seconds"),
  outbox: shared("outbox_pending"),
  lag: own("kafka_consumer_lag"),
  live: own("actor_live", { kind: "order" }),
};
