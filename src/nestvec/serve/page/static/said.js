// What is said to screen readers, once things have come to rest; and the one line for errors.

import { byId } from "./dom.js";

const REST_MS = 700;
let timer = null;

/** Say something, unless something newer comes first. */
export function say(text) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    byId("said").textContent = text;
  }, REST_MS);
}

/** Show an error in one line; what is on the page stays. */
export function complain(error) {
  const line = byId("error");
  line.textContent = error.message;
  line.hidden = false;
}

/** Take the line away: it worked. */
export function relieve() {
  byId("error").hidden = true;
}
