// Make elements. Text goes in as text nodes only, so a document can never become markup.
// There is no way here to set inline styles by attribute: the page's policy forbids them.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Make an HTML element; attributes whose names begin with "on" are event listeners. */
export function html(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Make an SVG element. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

/** Return the element of an id that index.html holds. */
export function byId(id) {
  return document.getElementById(id);
}

/** A name that may be broken after its dots and underscores, as names of code are. */
export function breakable(text) {
  const parts = text.split(/(?<=[._/])(?=\w)/u);
  return parts.flatMap((part, at) => (at === 0 ? [part] : [html("wbr"), part]));
}

/** Width of a picture's own units: fewer on a phone, so that its texts stay legible. */
export function pictureWidth() {
  return Math.max(Math.min(innerWidth - 30, 460), 300);
}

/** Text for screen readers alone. */
export function unseen(text) {
  return html("span", { class: "unseen" }, text);
}

/** Whether movement is unwelcome. */
export function still() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
