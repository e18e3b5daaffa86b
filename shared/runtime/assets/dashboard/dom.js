// Describes a piece of the page, and brings the page to what is described. Only what differs is touched, so that focus,
// selection and scrolling stay where they are while the figures move.

const SVG = "http://www.w3.org/2000/svg";

const shown = (children) =>
  children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

/**
 * Attributes with a meaning of their own: `key` names a child among its siblings, `on` holds event handlers, `vars` custom
 * properties of CSS, `mount` is called once with the new element, whose children are then its own business, `fresh` at
 * every rendering.
 */
export function h(tag, attributes, ...children) {
  return { tag, attributes: attributes ?? {}, children: shown(children) };
}

const OWN = new Set(["key", "on", "vars", "mount", "fresh"]);

function update(element, { attributes, children }) {
  const before = element.$attributes ?? {};
  for (const name in before) if (!(name in attributes) && !OWN.has(name)) element.removeAttribute(name);
  for (const name in attributes) {
    const value = attributes[name];
    if (OWN.has(name) || value === before[name]) continue;
    if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const name in attributes.vars) element.style.setProperty(name, attributes.vars[name]);
  for (const event in attributes.on) {
    element.$on ??= {};
    if (!(event in element.$on)) element.addEventListener(event, (happened) => element.$on[event](happened));
    element.$on[event] = attributes.on[event];
  }
  element.$attributes = attributes;
  if (attributes.mount) attributes.fresh?.(element);
  else patch(element, children);
}

/** Makes the children of an element these. */
export function patch(parent, children) {
  const keyed = new Map();
  for (const child of parent.children) {
    const key = child.$attributes?.key;
    if (key !== undefined) keyed.set(key, child);
  }
  let at = parent.firstChild;
  for (const wanted of shown(children)) {
    if (typeof wanted !== "object") {
      const text = String(wanted);
      if (at?.nodeType === Node.TEXT_NODE) {
        if (at.data !== text) at.data = text;
        at = at.nextSibling;
      } else parent.insertBefore(document.createTextNode(text), at);
      continue;
    }
    const { tag, attributes } = wanted;
    const isUnkeyed = at?.nodeType === Node.ELEMENT_NODE && at.$attributes?.key === undefined;
    let element = attributes.key !== undefined ? keyed.get(attributes.key) : isUnkeyed ? at : undefined;
    if (element?.localName !== tag) element = undefined;
    if (!element) {
      const isSvg = tag === "svg" || parent.namespaceURI === SVG;
      element = isSvg ? document.createElementNS(SVG, tag) : document.createElement(tag);
      parent.insertBefore(element, at);
      attributes.mount?.(element);
    } else if (element === at) at = at.nextSibling;
    else parent.insertBefore(element, at);
    update(element, wanted);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}
