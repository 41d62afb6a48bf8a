// The rank of each document after every stage, and the stage that missed a document:
// a chart, a few sentences, and a table.

import { html, pictureWidth, svg } from "./dom.js";
import { words } from "./results.js";
import { count, counted, shortened } from "./wording.js";

const LEFT = 44;
const RIGHT = 48;
const TOP = 46;
const SLOT = 19; // between the ranks of the list
const DEEP = 130; // for all ranks below the list, on a log scale
const MISSED = 30;

/**
 * Draw the ranks.
 *
 * `columns` are {name, ids, note} of each stage and of full precision, which is last;
 * `drawn` are {id, document, kind} with kind hit, lost or missing.
 */
export function showStageRanks(place, { columns, drawn, k, exact }) {
  const scale = { ...ranks(columns, k), x: across(columns.length), right: pictureWidth() - 8 };
  const picture = svg(
    "svg",
    { viewBox: `0 0 ${pictureWidth()} ${scale.missed + 26}`, class: "picture", role: "img" },
    svg("title", {}, "The rank of each result after every stage; the table below has the same data"),
    ...grid(columns, scale, k),
    ...columns.flatMap((column, at) => candidates(column, scale.x(at), scale)),
    ...drawn.map((document) => path(document, columns, scale)),
  );
  place.replaceChildren(
    ...sentences({ columns, drawn, k, exact }).map((text) => html("p", { class: "summary" }, text)),
    picture,
    html("details", {}, html("summary", {}, "Show as a table"), table(columns, drawn)),
  );
}

function ranks(columns, k) {
  const deepest = Math.max(...columns.map(({ ids }) => ids.length), k);
  const listEnd = TOP + (k - 1) * Math.min(SLOT, 260 / k);
  const deep = deepest > k ? DEEP : 0;
  const y = (rank) =>
    rank <= k
      ? TOP + (rank - 1) * Math.min(SLOT, 260 / k)
      : listEnd + 14 + (deep * Math.log(rank / k)) / Math.log(deepest / k);
  return { y, deepest, listEnd, missed: listEnd + 14 + deep + MISSED };
}

function across(number) {
  const room = pictureWidth() - LEFT - RIGHT;
  return (at) => LEFT + (number === 1 ? room / 2 : (at * room) / (number - 1));
}

function grid(columns, { x, y, right, deepest, listEnd, missed }, k) {
  const ticks = [1, k, ...[20, 50, 100, 200, 500, 1000].filter((rank) => rank > 1.4 * k && rank < deepest / 1.3)];
  if (deepest > k) ticks.push(deepest);
  return [
    svg("line", { class: "rule", x1: LEFT - 16, x2: right, y1: listEnd + 9, y2: listEnd + 9 }),
    svg("line", { class: "rule", x1: LEFT - 16, x2: right, y1: missed - 13, y2: missed - 13 }),
    svg("text", { class: "tick", x: LEFT - 20, y: missed + 3, "text-anchor": "end" }, "–"),
    ...ticks.map((rank) =>
      svg("text", { class: "tick", x: LEFT - 20, y: y(rank) + 3.5, "text-anchor": "end" }, count(rank)),
    ),
    ...columns.flatMap((column, at) => [
      svg("text", { class: "column", x: x(at), y: 14, "text-anchor": anchor(at, columns) }, column.name),
      svg("text", { class: "tick", x: x(at), y: 28, "text-anchor": anchor(at, columns) }, column.note),
    ]),
  ];
}

function anchor(at, columns) {
  return at === 0 && columns.length > 1 ? "start" : "middle";
}

/** All candidates that a stage returned, as small ticks. */
function candidates({ ids }, x, { y }) {
  return ids.map((_, place) =>
    svg("line", { class: "candidate", x1: x - 4, x2: x + 4, y1: y(place + 1), y2: y(place + 1) }),
  );
}

function path({ id, document, kind, relevant }, columns, { x, y, missed }) {
  const stops = columns.map(({ ids }, at) => {
    const place = ids.indexOf(id);
    return { x: x(at), y: place < 0 ? missed : y(place + 1), found: place >= 0 };
  });
  const curve = stops
    .map((stop, at) => {
      if (at === 0) return `M${stop.x},${stop.y}`;
      const middle = (stop.x + stops[at - 1].x) / 2;
      return `C${middle},${stops[at - 1].y} ${middle},${stop.y} ${stop.x},${stop.y}`;
    })
    .join("");
  const last = stops.at(-1);
  const label = [relevant ? "✓" : "", kind === "lost" ? "lost" : "", kind === "missing" ? "missed" : ""];
  const position = last.found ? { x: last.x + 9, y: last.y + 3.5 } : { x: last.x + 14, y: last.y + 16, "text-anchor": "end" };
  return svg(
    "g",
    { class: `path ${kind}${relevant ? " known" : ""}`, "data-doc": id },
    svg("title", {}, words(id, document).heading),
    svg("path", { class: "wide", d: curve }),
    svg("path", { d: curve }),
    ...stops.map((stop) => svg("circle", { cx: stop.x, cy: stop.y, r: stop.found ? 4 : 3, class: stop.found ? "" : "out" })),
    svg("text", { class: "path-label", ...position }, label.join(" ").trim()),
  );
}

function sentences({ columns, drawn, k, exact }) {
  const stages = exact ? columns.slice(0, -1) : columns;
  const lines = [];
  const list = stages.at(-1).ids.slice(0, k);
  stages.slice(0, -1).forEach(({ ids }, at) => {
    const last = Math.max(...list.map((id) => ids.indexOf(id) + 1));
    if (list.length && last < ids.length) {
      lines.push(
        `The lowest of these ${list.length} results had rank ${count(last)} of ${count(ids.length)} ` +
          `after stage ${at + 1}. For this query, a shortlist of ${count(last)} would give the same results.`,
      );
    }
  });
  const first = stages[0];
  const missed = drawn.filter(({ id, kind }) => kind === "lost" && !first.ids.includes(id));
  if (missed.length && stages.length > 1) {
    lines.push(
      `${counted(missed.length, "result")} of full precision ${missed.length === 1 ? "is" : "are"} not in the ` +
        `shortlist of ${count(first.ids.length)}, so no later stage can return ${missed.length === 1 ? "it" : "them"}.`,
    );
  }
  for (const { id, document, relevant } of drawn) {
    if (!relevant) continue;
    const truth = exact ? columns.at(-1).ids : [];
    const none = exact && !truth.includes(id) ? `; not in the top ${truth.length} of full precision` : "";
    lines.push(`Relevant document “${shortened(words(id, document).heading, 60)}”: ${trip(id, stages)}${none}.`);
  }
  return lines;
}

function trip(id, stages) {
  return stages
    .map(({ ids }, at) => {
      const place = ids.indexOf(id);
      const name = stages.length === 1 ? "the scan" : `stage ${at + 1}`;
      return place < 0 ? `missed by ${name}` : `rank ${count(place + 1)} after ${name}`;
    })
    .filter((text, at, all) => at === 0 || !all[at - 1].startsWith("missed"))
    .join(", ");
}

function table(columns, drawn) {
  const cell = (id) => ({ ids }) => {
    const place = ids.indexOf(id);
    return html("td", {}, place < 0 ? "–" : count(place + 1));
  };
  return html(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": "Table of ranks" },
    html(
      "table",
      {},
      html("thead", {}, html("tr", {}, html("th", { scope: "col" }, "Document"), ...columns.map(({ name }) => html("th", { scope: "col" }, name)))),
      html(
        "tbody",
        {},
        ...drawn.map(({ id, document }) =>
          html("tr", { "data-doc": id }, html("th", { scope: "row" }, shortened(words(id, document).heading, 48)), ...columns.map(cell(id))),
        ),
      ),
    ),
  );
}
