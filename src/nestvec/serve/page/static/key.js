// Ask the user for the API key of this server.

import { byId } from "./dom.js";

let pending = null;

/** Resolve to the entered key; concurrent calls share one form. */
export function askForKey(why) {
  pending ??= new Promise((resolve) => {
    const form = byId("key-form");
    const field = byId("key");
    byId("key-why").textContent = why;
    form.hidden = false;
    field.focus();
    form.addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        form.hidden = true;
        pending = null;
        resolve(field.value.trim());
        field.value = "";
      },
      { once: true },
    );
  });
  return pending;
}
