// The chosen point of the plan and the reasons.

import { html } from "./dom.js";

/** Draw a plan; `onPick` is called with its point. */
export function planPart(plan, onPick) {
  const verdict = plan.verdict ?? (plan.confirmed ? "CONFIRMED" : "NOT CONFIRMED");
  return html(
    "div",
    { class: "plan" },
    html(
      "p",
      {},
      "Chosen by the plan: ",
      html("button", { type: "button", class: "chip code", onclick: () => onPick(plan.point) }, plan.point),
      " ",
      html("strong", { class: "badge" }, verdict.toLowerCase()),
    ),
    html(
      "details",
      {},
      html("summary", {}, "Why this point"),
      html("ul", {}, ...plan.reasons.map((reason) => html("li", {}, reason))),
    ),
  );
}
