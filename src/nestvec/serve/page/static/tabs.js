// Accessible tabs: the Tab key stops once, and arrow keys move between the tabs.

import { html } from "./dom.js";

/** Create a list of tabs; `onPick` is called with the name of the selected tab. */
export function tabs(names, { label, controls, onPick }) {
  const buttons = names.map((name) =>
    html("button", { type: "button", role: "tab", class: "tab", "aria-controls": controls, onclick: () => pick(name) }, name),
  );
  const pick = (name) => {
    buttons.forEach((button, at) => {
      const chosen = names[at] === name;
      button.setAttribute("aria-selected", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
    });
    onPick(name);
  };
  const node = html("div", { role: "tablist", class: "tabs", "aria-label": label }, ...buttons);
  node.addEventListener("keydown", ({ key }) => {
    const way = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!way) return;
    const at = buttons.findIndex((button) => button.tabIndex === 0);
    const next = (at + way + names.length) % names.length;
    pick(names[next]);
    buttons[next].focus();
  });
  return { node, pick };
}
