// Requests to our own origin, with the key that the operator gave, if one is wanted.

import { exactJson } from "./format.js";
import { eventParser } from "./sse.js";

const KEY = "dashboard-key";
let ask = async () => null;

/** Who asks the operator for a key: is given what is wrong with the one there is, returns another or null. */
export function askForKeyWith(asking) {
  ask = asking;
}

let asking = null;
let isDeclined = false;

/** Lets the next refusal ask again, after the operator gave no key. */
export function allowAsking() {
  isDeclined = false;
}

async function newKey(status, hasKey) {
  if (isDeclined) return null;
  // However many requests are refused, there is one question.
  asking ??= ask(status, hasKey).then((key) => {
    if (key) sessionStorage.setItem(KEY, key);
    isDeclined = !key;
    asking = null;
    return key;
  });
  return asking;
}

async function send(path, options) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    const response = await fetch(path, { ...options, headers });
    if (response.status !== 401 && response.status !== 403) return response;
    // Somebody may have given a better one while this was on its way.
    if (sessionStorage.getItem(KEY) === key && !(await newKey(response.status, key !== null))) return response;
  }
}

/** What is at a path, as JSON; an error with the problem's words and status if it is refused. */
async function request(path, options = {}) {
  const response = await send(path, options);
  const body = await response.text().then(exactJson).catch(() => null);
  if (response.ok) return body;
  const error = new Error(body?.detail ?? `The service answered ${response.status}.`);
  error.status = response.status;
  throw error;
}

export const read = (path) => request(path, { headers: { Accept: "application/json" } });

export const post = (path, body) =>
  request(
    path,
    body === undefined
      ? { method: "POST" }
      : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) },
  );

const SHORTEST = 500;
const LONGEST = 15_000;

/**
 * Follows a stream of server-sent events until the signal says stop, and comes back when it ends, after pauses that grow.
 * `heard` gets every event; `connected` is told whether it is, and else in how many milliseconds the next try is, and whether access was refused.
 */
export async function follow(path, signal, heard, connected) {
  let pause = SHORTEST;
  while (!signal.aborted) {
    let isRefused = false;
    try {
      const response = await send(path, { headers: { Accept: "text/event-stream" }, signal });
      isRefused = response.status === 401 || response.status === 403;
      if (response.status === 404) return;
      if (!response.ok) throw new Error(`answered ${response.status}`);
      connected(true);
      const parse = eventParser();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        for (const event of parse(value)) {
          pause = SHORTEST;
          heard(event);
        }
      }
    } catch {
      // Whatever it was: it is not connected, and comes back.
    }
    if (signal.aborted) return;
    connected(false, pause, isRefused);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, pause);
      signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
    pause = Math.min(pause * 2, LONGEST);
  }
}
