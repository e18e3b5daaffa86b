import assert from "node:assert/strict";
import { test } from "node:test";
import { eventParser } from "../../shared/runtime/assets/dashboard/sse.js";

const TEXT =
  ': here\n\nevent: hello\ndata: {"a":1}\n\nid: 7\r\nevent: snapshot\r\ndata: one\r\ndata: two\r\n\r\ndata:bare\n\nevent: nothing\n\ndata: unfinished\n';
const EVENTS = [
  { name: "hello", data: '{"a":1}', id: undefined },
  { name: "snapshot", data: "one\ntwo", id: "7" },
  { name: "message", data: "bare", id: "7" },
];

test("events are whole, wherever the text was cut", () => {
  for (let size = 1; size <= TEXT.length; size += 1) {
    const parse = eventParser();
    const events = [];
    for (let at = 0; at < TEXT.length; at += size) events.push(...parse(TEXT.slice(at, at + size)));
    assert.deepEqual(events, EVENTS, `in pieces of ${size}`);
  }
});
