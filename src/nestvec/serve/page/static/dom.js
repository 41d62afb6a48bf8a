// Create elements. Texts become text nodes, so a document cannot become markup.
// Inline styles are not supported, because the content security policy of the page forbids them.

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

/** Create an HTML element; attributes whose names start with "on" are event listeners. */
export function html(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Create an SVG element. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

/** Return the element with an id in index.html. */
export function byId(id) {
  return document.getElementById(id);
}

/** Allow line breaks after dots, underscores and slashes, for long names of code. */
export function breakable(text) {
  const parts = text.split(/(?<=[._/])(?=\w)/u);
  return parts.flatMap((part, at) => (at === 0 ? [part] : [html("wbr"), part]));
}

/** Width of a chart in its own units; smaller on phones, so that its texts stay legible. */
export function pictureWidth() {
  return Math.max(Math.min(innerWidth - 30, 460), 300);
}

/** Text only for screen readers. */
export function unseen(text) {
  return html("span", { class: "unseen" }, text);
}

/** Whether the user prefers reduced motion. */
export function still() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
