// Announcements for screen readers, after a short delay, and the error line.

import { byId } from "./dom.js";

const REST_MS = 700;
let timer = null;

/** Announce a text, unless a newer text follows within the delay. */
export function announce(text) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    byId("announcement").textContent = text;
  }, REST_MS);
}

/** Show an error in one line; the rest of the page does not change. */
export function showError(error) {
  const line = byId("error");
  line.textContent = error.message;
  line.hidden = false;
}

/** Hide the error line. */
export function hideError() {
  byId("error").hidden = true;
}
