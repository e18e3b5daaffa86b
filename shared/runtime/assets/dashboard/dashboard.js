// The page: hears the snapshots, knows which view is open, and draws it at most once a second.

import { ask, notice } from "./actions.js";
import { h, patch } from "./dom.js";
import { age, shortName } from "./format.js";
import { History, SERVICES } from "./history.js";
import { leaveOrder, orderView } from "./order.js";
import { conditionTone, conditionWords, viewOf } from "./pieces.js";
import { serviceView } from "./service.js";
import { allowAsking, askForKeyWith, follow } from "./stream.js";
import { summary, systemView } from "./system.js";

const PERIOD = 1_000;
/** A hidden page lets its stream go after this; what it missed comes when it is back. */
const HIDDEN_FOR = 60_000;

const main = document.getElementById("main");
const heardOf = new History();
const context = {
  history: heardOf,
  own: undefined,
  isWhole: false,
  now: heardOf.at(Date.now()),
  draw: () => draw(),
  announce,
  patch,
};

let connection = { isConnected: false, since: Date.now() };
let stream = null;
// Without a connection nobody is silent but we: then the page stands still where it last heard something.
let isHearing = false;
let heardAt = Date.now();

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // Somebody mistyped it: no order has such an id.
  }
}

// What is open: the whole system, a service, or an order. /dashboard alone is what the server thinks best.
function route() {
  const order = location.pathname.match(/^\/dashboard\/orders\/([^/]+)\/?$/);
  if (order) return { order: decoded(order[1]) };
  const [, view, service, part, detail] = location.hash.split("/");
  if (view === "services" && service) return { service, part, detail };
  if (view === "system") return { part: service };
  return context.isWhole || !context.own ? {} : { service: context.own };
}

function announce(text) {
  const place = document.getElementById("announcement");
  if (place.textContent !== text) place.textContent = text;
}

let drawnAt = 0;
let drawing = null;
let scrollTo = null;

/** At most once a second, unless somebody just did something; not at all while nobody looks. */
function draw(isUrgent = true) {
  if (document.hidden) return;
  const wait = isUrgent ? 0 : Math.max(0, drawnAt + PERIOD - performance.now());
  if (drawing && !isUrgent) return;
  clearTimeout(drawing);
  drawing = setTimeout(() => {
    drawing = null;
    drawnAt = performance.now();
    render();
  }, wait);
}

function render() {
  const now = Date.now();
  const { service, order, part, detail } = route();
  context.now = heardOf.at(isHearing ? now : heardAt);
  const isOld = !isHearing && !heardOf.isEmpty;
  context.isOld = isOld;
  if (!order) leaveOrder();
  showConnection(now);
  patch(document.getElementById("views"), [views(service, order)]);
  const isWaiting = heardOf.isEmpty && !order;
  const body = isWaiting
    ? [h("p", { class: "empty" }, "Waiting for the first news of the services …")]
    : order
      ? orderView(context, order)
      : service
        ? serviceView(context, service, detail)
        : systemView(context);
  patch(main, [h("div", { class: "view", key: order ? `order ${order}` : (service ?? "system") }, body)]);
  scrollable();
  for (const element of [main, document.getElementById("views")]) element.classList.toggle("old", isOld);
  const title = order ? `Order ${order.slice(0, 8)}` : (service ?? "Whole system");
  document.title = `${title} · Order system`;
  if (!order && !heardOf.isEmpty && !isOld) announce(summary(context.now));
  if (scrollTo !== null && !isWaiting) {
    const target = scrollTo && part ? document.getElementById(part) : null;
    if (target) {
      target.scrollIntoView();
      target.querySelector("h2")?.focus({ preventScroll: true });
    }
    scrollTo = null;
  }
}

/** What is wider than its frame can be scrolled with the keyboard, too; what is not is no stop on the way. */
function scrollable() {
  const frames = [...main.querySelectorAll(".table-frame")];
  const wide = frames.map((frame) => frame.scrollWidth > frame.clientWidth);
  frames.forEach((frame, i) => (wide[i] ? frame.setAttribute("tabindex", "0") : frame.removeAttribute("tabindex")));
}

function views(service, order) {
  const isSystem = !service && !order;
  const link = (name, href, isCurrent, condition) =>
    h(
      "li",
      { key: name },
      h(
        "a",
        { href, "aria-current": isCurrent && "page" },
        condition && h("span", { class: `light ${conditionTone(condition)}`, "aria-hidden": "true" }),
        name,
        condition && condition !== "UP" && h("span", { class: "hidden" }, `, ${conditionWords(condition)}`),
      ),
    );
  return h(
    "ul",
    null,
    link("Whole system", "/dashboard#/system", isSystem),
    SERVICES.map((name) =>
      link(
        shortName(name),
        viewOf(name),
        service === name,
        context.now.services.find((one) => one.name === name)?.condition ?? "SILENT",
      ),
    ),
    order && link("Order", location.pathname, true),
  );
}

function showConnection(now) {
  const { isConnected, since, isRefused } = connection;
  const words = isConnected
    ? "Live"
    : isRefused
      ? "No access."
      : now - since < 1500
        ? "Connecting …"
        : `Not connected for ${age((now - since) / 1000)}; what is shown is old`;
  const element = document.getElementById("connection");
  element.className = `connection ${isConnected ? "ok" : "bad"}`;
  // It is read aloud when it changes, which the seconds are not to cause.
  const said = isConnected ? "Live" : isRefused ? "No access." : "Not connected";
  if (element.$said !== said) {
    element.$said = said;
    patch(element, [
      h("span", { class: "light" }),
      h("span", { "aria-hidden": "true", class: "words" }, words),
      h("span", { class: "hidden" }, said),
      isRefused && h("button", { type: "button", class: "quiet", on: { click: connectAgain } }, "Enter a key"),
    ]);
  } else {
    const shown = element.querySelector(".words");
    if (shown.textContent !== words) shown.textContent = words;
  }
}

function heard({ name, data }) {
  const said = JSON.parse(data);
  if (name === "hello") {
    Object.assign(context, { own: said.service, isWhole: said.whole, ownReplica: said.replica });
    draw();
  } else if (name === "snapshot") {
    heardAt = Date.now();
    isHearing = true;
    draw(heardOf.take(said, heardAt));
  }
}

function connect() {
  stream = new AbortController();
  follow("/dashboard/events", stream.signal, heard, (isConnected, _pause, isRefused) => {
    if (isConnected !== connection.isConnected) connection = { isConnected, since: Date.now() };
    isHearing &&= isConnected;
    connection.isRefused = isRefused;
    draw();
  });
}

function connectAgain() {
  allowAsking();
  stream?.abort();
  connect();
  leaveOrder();
  draw();
}

askForKeyWith((status, hasKey) =>
  ask({
    title: "This service asks who you are",
    text: [
      status === 403
        ? "That key is known, but may not see this: it must be an operator's."
        : hasKey
          ? "The service does not accept that key or token, or not any more. Give another one of an operator."
          : "Give an operator's API key or token. It stays in this tab only, until the tab is closed.",
    ],
    field: { label: "Key or token", type: "password", isRequired: true },
    button: "Continue",
  }),
);

// Links between views stay on this page, so that the charts keep what they know.
function go(url) {
  history.pushState(null, "", url);
  scrollTo = true;
  if (!url.hash.split("/")[3]) {
    window.scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
  draw();
}
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (link?.className === "skip") {
    event.preventDefault();
    main.focus();
    return;
  }
  if (
    !link ||
    event.defaultPrevented ||
    event.button !== 0 ||
    event.metaKey ||
    event.ctrlKey ||
    event.shiftKey ||
    event.altKey
  )
    return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || !/^\/dashboard(\/orders\/[^/]+)?\/?$/.test(url.pathname)) return;
  event.preventDefault();
  go(url);
});
addEventListener("popstate", () => draw());

document.getElementById("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const id = new FormData(event.target).get("orderId").trim();
  if (!id) return notice("Type or paste the id of an order first.", "bad");
  go(new URL(`/dashboard/orders/${encodeURIComponent(id)}`, location));
});

let leaving = null;
document.addEventListener("visibilitychange", () => {
  clearTimeout(leaving);
  if (document.hidden) {
    leaving = setTimeout(() => {
      stream?.abort();
      stream = null;
      isHearing = false;
      connection = { isConnected: false, since: Date.now() };
    }, HIDDEN_FOR);
    return;
  }
  if (!stream) connect();
  draw();
});
addEventListener("themechange", () => draw());
addEventListener("resize", () => draw(false));
scrollTo = true;
connect();
// Silence has to be seen, too.
setInterval(() => draw(false), PERIOD);
