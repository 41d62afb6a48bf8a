// Ask a person for the API key of this server.

import { byId } from "./dom.js";

let asked = null;

/** Resolve to the key that is typed; those who ask meanwhile get the same one. */
export function askForKey(why) {
  asked ??= new Promise((resolve) => {
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
        asked = null;
        resolve(field.value.trim());
        field.value = "";
      },
      { once: true },
    );
  });
  return asked;
}
