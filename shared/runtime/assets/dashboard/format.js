// Numbers and times for people. Pure.

const NONE = "–";
const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const digits = (value) => (value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2);
const plain = (value, places) =>
  value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });

export function count(value) {
  if (value === null || value === undefined) return NONE;
  return value < 10_000_000 ? grouped.format(value) : `${plain(value / 1e6, digits(value / 1e6))} M`;
}

/** Without its unit, so that a column can have it in its head. */
export function perSecond(value) {
  if (value === null || value === undefined) return NONE;
  return value === 0
    ? "0"
    : value < 0.01
      ? "< 0.01"
      : value >= 1000
        ? grouped.format(value)
        : plain(value, value >= 99.95 ? 0 : 1 + (value < 0.95));
}

export const rate = (value) => (value === null || value === undefined ? NONE : `${perSecond(value)} /s`);

export function seconds(value) {
  if (value === null || value === undefined) return NONE;
  if (value === Infinity) return "> 10 s";
  if (value >= 0.9995) return `${plain(value, digits(value))} s`;
  return value === 0 ? "0 ms" : `${plain(value * 1000, digits(value * 1000))} ms`;
}

/** The middle and the slow end, with their unit once if it is the same. */
export function pair({ p50, p99 }) {
  if (p50 === null) return NONE;
  const [middle, slow] = [seconds(p50), seconds(p99)];
  return middle.endsWith(" ms") && slow.endsWith(" ms") ? `${middle.slice(0, -3)} / ${slow}` : `${middle} / ${slow}`;
}

/** How long ago or how long still, in seconds. */
export function age(value) {
  if (value === null || value === undefined) return NONE;
  const whole = Math.max(0, Math.floor(value));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

export function clock(iso) {
  const time = new Date(iso);
  const pad = (value, width = 2) => String(value).padStart(width, "0");
  return `${pad(time.getHours())}:${pad(time.getMinutes())}:${pad(time.getSeconds())}.${pad(time.getMilliseconds(), 3)}`;
}

export const moment = (iso) => new Date(iso).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });

const amounts = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 4 });
const AMOUNTS = new Set(["amount", "totalAmount", "unitPrice"]);

/** Of a decimal's digits, to the last of them; of a number, as far as it holds them. */
export const amount = (digits) => amounts.format(digits);
export const money = (digits, currency) => `${amount(digits)} ${currency}`;

/** JSON with amounts as the digits they were sent with, where the browser tells them: its numbers are rounded. */
export const exactJson = (text) =>
  JSON.parse(text, (key, value, context) =>
    typeof value === "number" && AMOUNTS.has(key) ? (context?.source ?? value) : value,
  );

/** `order-service` → `order`; `AWAITING_PAYMENT` → `awaiting payment`. */
export const shortName = (service) => service.replace(/-service$/, "");
export const words = (code) => code.toLowerCase().replaceAll("_", " ");

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
