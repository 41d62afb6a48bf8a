// The cost of a search: milliseconds and bytes of each step, compared with full precision.

import { html } from "./dom.js";
import { bytes, count, milliseconds } from "./wording.js";

/** Draw the table of one answer; `exact` is {ms, bytes} of full precision, or null. */
export function showCost(place, { timing, stages }, exact) {
  const rows = [
    row("encode the query", timing.encode_ms, null, null),
    ...stages.map((stage, at) =>
      row(`${at === 0 ? "scan" : "rescore"} ${stage.stage}`, stage.ms, stage.bytes, stage.kept),
    ),
    row("read the documents", timing.documents_ms, null, null),
  ];
  const whole = stages.reduce((sum, stage) => sum + stage.bytes, 0);
  // The total time in the answer would include the search with full precision.
  const together = timing.encode_ms + timing.search_ms + timing.documents_ms;
  const foot = [row("total", together, whole, null)];
  if (exact !== null) foot.push(row("full precision", exact.ms, exact.bytes, null, "quiet"));
  const longest = Math.max(...[...rows, ...foot.slice(1)].map(({ ms }) => ms), 0.01);
  for (const each of [...rows, ...foot.slice(1)]) {
    each.bar.style.setProperty("--share", `${(100 * each.ms) / longest}%`);
  }
  foot[0].bar.remove();
  place.replaceChildren(
    html(
      "table",
      { class: "cost-table" },
      html("caption", { class: "unseen" }, "Time and bytes of each step"),
      html(
        "thead",
        {},
        html("tr", {}, ...["Step", "Time", "Reads", "Returns"].map(head)),
      ),
      html("tbody", {}, ...rows.map(({ node }) => node)),
      html("tfoot", {}, ...foot.map(({ node }) => node)),
    ),
  );
}

function head(name) {
  return html("th", { scope: "col" }, name);
}

function row(name, ms, size, n, kind = null) {
  const bar = html("span", { class: "bar", "aria-hidden": "true" });
  const node = html(
    "tr",
    { class: kind },
    html("th", { scope: "row" }, name, bar),
    html("td", {}, ms === null ? "–" : milliseconds(ms)),
    html("td", {}, size === null ? "" : bytes(size)),
    html("td", {}, n === null ? "" : count(n)),
  );
  return { node, bar, ms: ms ?? 0 };
}
