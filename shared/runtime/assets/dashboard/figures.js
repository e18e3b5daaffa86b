// What a snapshot's metrics say, as numbers. Pure.

const fits = (labels, wanted) => {
  for (const name in wanted) if (labels[name] !== wanted[name]) return false;
  return true;
};

/** The series of a metric whose labels hold all of these. */
export function series(metrics, name, wanted = {}) {
  return (metrics?.[name] ?? []).filter((one) => fits(one.labels, wanted));
}

/** The sum of a counter or gauge over its series; null if there is none. */
export function total(metrics, name, wanted) {
  const found = series(metrics, name, wanted);
  return found.length ? found.reduce((sum, one) => sum + (one.value ?? one.count), 0) : null;
}

/** Several histograms as one; null if there is none. All of one metric have the same bounds. */
export function together(histograms) {
  let all = null;
  for (const one of histograms) {
    if (!one) continue;
    all ??= { count: 0, sum: 0, buckets: one.buckets.map(([bound]) => [bound, 0]) };
    all.count += one.count;
    all.sum += one.sum;
    one.buckets.forEach(([, count], i) => (all.buckets[i][1] += count));
  }
  return all;
}

export function histogram(metrics, name, wanted) {
  return together(series(metrics, name, wanted));
}

/** By how much a counter grew. One that fell was started again, from zero. */
export function increase(now, before) {
  if (now === null) return null;
  return now < (before ?? 0) ? now : now - (before ?? 0);
}

/** What a histogram saw between two moments. */
export function between(now, before) {
  if (!now || !before || now.count < before.count) return now;
  const buckets = now.buckets.map(([bound, count], i) => [bound, count - before.buckets[i][1]]);
  return { count: now.count - before.count, sum: now.sum - before.sum, buckets };
}

/**
 * The value that this share of what was seen stays below, found within its bucket as if that were filled evenly.
 * Infinity if it lies beyond the last bound; null if nothing was seen.
 */
export function quantile(seen, share) {
  if (!seen || seen.count <= 0) return null;
  const rank = share * seen.count;
  let [lower, below] = [0, 0];
  for (const [bound, count] of seen.buckets) {
    if (count >= rank && count > below) return lower + ((bound - lower) * (rank - below)) / (count - below);
    [lower, below] = [bound, count];
  }
  return Infinity;
}

/** The middle and the slow end. */
export const spread = (seen) => ({ p50: quantile(seen, 0.5), p99: quantile(seen, 0.99) });
