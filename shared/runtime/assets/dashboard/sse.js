// Server-sent events, taken from text as it comes. Pure.

/** Gives a function that takes the next piece of text and returns the events that are whole with it. */
export function eventParser() {
  let rest = "";
  let event = { name: "message", data: [], id: undefined };
  const lineOf = (line, events) => {
    if (line === "") {
      if (event.data.length) events.push({ name: event.name, data: event.data.join("\n"), id: event.id });
      event = { name: "message", data: [], id: event.id };
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment, which keeps the connection alive
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") event.name = value;
    if (field === "data") event.data.push(value);
    if (field === "id") event.id = value;
  };
  return (text) => {
    const events = [];
    rest += text;
    // A carriage return at the very end may be the first half of a line's end.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) lineOf(line, events);
    return events;
  };
}
