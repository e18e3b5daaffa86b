// What was heard of every process of every service: its last snapshot, the last seconds for rates, five minutes for charts.
// Without the page, so that it can be tested.

import { between, histogram, increase, series, together, total } from "./figures.js";
import { MEASURES } from "./measures.js";

/** Rates and quantiles are those of about the last ten seconds. */
const WINDOW = 10_000;
/** What charts show. */
export const SPAN = 300_000;
/** For so many seconds a value is that of the chart, too, while none comes. */
const CARRY = 5;
/** Silence of this length is told. */
const STALE = 3_000;
export const SERVICES = ["order-service", "payment-service", "inventory-service", "notification-service"];

/** One process of a service. */
class Replica {
  constructor() {
    this.readings = [];
    this.points = new Map();
    this.arrived = 0;
  }

  take(snapshot, now) {
    const at = Date.parse(snapshot.at);
    this.hasTurned = false;
    if (this.at !== undefined && at <= this.at) return;
    // What comes in a row is history, sent as the stream began: it is as old as it says. What comes alone is new,
    // whatever that computer's clock says.
    this.isNew = now - this.arrived > 500 && this.arrived > 0;
    this.arrived = now;
    const { status, checks, parts } = snapshot;
    const condition = JSON.stringify([status, checks, parts.map(({ state, restarts }) => [state, restarts])]);
    this.hasTurned = condition !== this.condition;
    this.condition = condition;
    this.at = at;
    this.snapshot = snapshot;
    this.startedAt = at - snapshot.upSeconds * 1000;
    this.readings.push({ at, metrics: snapshot.metrics });
    while (this.readings.length > 2 && this.readings[0].at < at - WINDOW - 500) this.readings.shift();
    this.note();
  }

  /** When it was last heard of, by our clock, which is that much ahead of theirs. */
  heardAt(skew) {
    return this.isNew ? this.arrived : Math.min(this.arrived, this.at + skew);
  }

  /** Metrics at the beginning and the end of the window; null with the first snapshot. */
  get window() {
    const [first, last] = [this.readings[0], this.readings.at(-1)];
    const seconds = (last.at - first.at) / 1000;
    return seconds > 0 && seconds <= 2 * (WINDOW / 1000) ? { now: last.metrics, before: first.metrics, seconds } : null;
  }

  note() {
    const window = this.window;
    const point = {};
    for (const [name, { of, isOverTime }] of Object.entries(MEASURES)) {
      if (isOverTime && !window) continue;
      const value = isOverTime ? of(window.now, window.before, window.seconds) : of(this.snapshot.metrics);
      if (value !== null) point[name] = value;
    }
    this.points.set(Math.round(this.at / 1000), point);
    for (const second of this.points.keys()) {
      if (second * 1000 >= this.at - SPAN - 5000) break;
      this.points.delete(second);
    }
  }

  /** What was said then, or shortly before: the past may be told with gaps. */
  point(second) {
    for (let back = 0; back < CARRY; back += 1)
      if (this.points.has(second - back)) return this.points.get(second - back);
    return undefined;
  }
}

/** The figures of one service, or of all, over their processes. */
class Figures {
  constructor(replicas) {
    this.replicas = replicas;
    this.live = replicas.filter((one) => !one.isStale);
  }

  /** Of each process' own: added up. Null if nobody says. */
  sum(name, labels) {
    return this.#over(
      (one) => total(one.snapshot.metrics, name, labels),
      (values) => values.reduce((a, b) => a + b),
    );
  }

  /** Of the database that they share: what one of them says. */
  shared(name, labels) {
    const services = [...new Set(this.replicas.map((one) => one.snapshot.service))];
    const values = services.map((service) => {
      const replicas = this.replicas.filter((one) => one.snapshot.service === service);
      const live = replicas.filter((one) => !one.isStale);
      const said = (live.length ? live : replicas)
        .map((one) => total(one.snapshot.metrics, name, labels))
        .filter((value) => value !== null);
      return said.length ? Math.max(...said) : null;
    });
    const said = values.filter((value) => value !== null);
    return said.length ? said.reduce((a, b) => a + b) : null;
  }

  /** Per second; null before the second snapshot. What never happened is not among the metrics: zero. */
  rate(name, labels) {
    return this.#over(
      ({ window, isStale }) => {
        if (!window || isStale) return null;
        return (increase(total(window.now, name, labels), total(window.before, name, labels)) ?? 0) / window.seconds;
      },
      (values) => values.reduce((a, b) => a + b),
    );
  }

  /** What a histogram saw in the window. */
  recent(name, labels) {
    const seen = ({ window }) =>
      window && between(histogram(window.now, name, labels), histogram(window.before, name, labels));
    return together(this.live.map(seen));
  }

  /** What a histogram saw since the processes started. */
  ever(name, labels) {
    return together(this.replicas.map((one) => histogram(one.snapshot.metrics, name, labels)));
  }

  /** The values that a label has, sorted. */
  values(name, label) {
    const all = this.replicas.flatMap((one) => series(one.snapshot.metrics, name).map((found) => found.labels[label]));
    return [...new Set(all)].sort();
  }

  #over(of, join) {
    const values = this.replicas.map(of).filter((value) => value !== null);
    return values.length ? join(values) : null;
  }
}

/** From good to bad; silence of all processes is worse than any of them. */
const CONDITIONS = ["UP", "DEGRADED", "DOWN"];

export class History {
  constructor() {
    this.replicas = new Map();
    this.skew = Infinity;
  }

  /** Takes note of a snapshot; true if the process is in another condition than before, which is not to wait. */
  take(snapshot, now) {
    const key = `${snapshot.service}/${snapshot.replica}`;
    this.skew = Math.min(this.skew, now - Date.parse(snapshot.at));
    if (!this.replicas.has(key)) this.replicas.set(key, new Replica());
    this.replicas.get(key).take(snapshot, now);
    return this.replicas.get(key).hasTurned;
  }

  get isEmpty() {
    return this.replicas.size === 0;
  }

  /** What there is to be said now: of every service that was ever heard of, in the order of the saga. */
  at(now) {
    for (const one of this.replicas.values()) {
      one.silence = Math.max(0, now - one.heardAt(this.skew));
      one.isStale = one.silence > STALE;
    }
    for (const [key, one] of this.replicas)
      if (one.silence > 2 * STALE && this.#isReplaced(one)) this.replicas.delete(key);
    const names = new Set([...SERVICES, ...[...this.replicas.values()].map((one) => one.snapshot.service)]);
    const services = [...names].map((name) => this.#service(name)).filter((service) => service.replicas.length);
    return { services, all: new Figures(services.flatMap((service) => service.replicas)), now: now - this.skew };
  }

  /** A process that went silent before another of its service started, or that has left the charts. */
  #isReplaced(gone) {
    return [...this.replicas.values()].some(
      (other) =>
        other !== gone &&
        other.snapshot.service === gone.snapshot.service &&
        !other.isStale &&
        (other.startedAt > gone.at - 1000 || gone.silence > SPAN),
    );
  }

  #service(name) {
    const replicas = [...this.replicas.values()].filter((one) => one.snapshot.service === name);
    replicas.sort((a, b) => a.startedAt - b.startedAt);
    const figures = new Figures(replicas);
    const worst = figures.live
      .map((one) => CONDITIONS.indexOf(one.snapshot.status))
      .reduce((a, b) => Math.max(a, b), 0);
    const silence = replicas.length ? Math.min(...replicas.map((one) => one.silence)) / 1000 : 0;
    const condition =
      figures.live.length === 0
        ? "SILENT"
        : worst === 0 && figures.live.length < replicas.length
          ? "DEGRADED"
          : CONDITIONS[worst];
    return { name, replicas, figures, condition, silence, url: (figures.live[0] ?? replicas[0])?.snapshot.url };
  }

  /** For a chart: a value for every second of the span, null where nothing was heard. */
  line(measure, service, now, pick) {
    const { join, isHistogram } = MEASURES[measure];
    const replicas = [...this.replicas.values()].filter((one) => !service || one.snapshot.service === service);
    const last = Math.floor(now / 1000);
    const values = [];
    for (let second = last - SPAN / 1000; second <= last; second += 1) {
      const said = [];
      for (const one of replicas) {
        const value = one.point(second)?.[measure];
        if (value !== undefined) said.push(value);
      }
      const value = said.length === 0 ? null : isHistogram ? pick(together(said)) : join(said);
      values.push(value === Infinity ? null : value);
    }
    return values;
  }
}
