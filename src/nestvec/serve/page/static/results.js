// The list of results: their ranks, how the ranks changed, and the lost results of full precision.
// Rows are reused for the same document, so that a changed rank can be animated.

import { breakable, html, still, unseen } from "./dom.js";
import { counted, shortened } from "./wording.js";

const SHORT = 220;
const MOVE = { duration: 260, easing: "cubic-bezier(.2, .7, .2, 1)" };

/** The list; `show` updates it. */
export class Results {
  #rows = new Map();
  #open = new Set();

  constructor(list) {
    this.list = list;
  }

  /**
   * Show documents.
   *
   * `entries` are {id, document, rank, score, was, lost, relevant} in the order to show; `was` is
   * the rank in the list to compare with, null if absent from it, undefined without such a list.
   */
  show(entries, { against }) {
    const tops = new Map([...this.#rows].map(([id, row]) => [id, row.getBoundingClientRect().top]));
    const rows = new Map();
    for (const entry of entries) {
      const row = this.#rows.get(entry.id) ?? html("li", { "data-doc": entry.id });
      this.#fill(row, entry, against);
      rows.set(entry.id, row);
    }
    this.#rows = rows;
    this.#place([...rows.values()]);
    if (!still()) this.#animate(tops);
  }

  /** Reorder the rows, moving only rows at a wrong position, so that the focus stays. */
  #place(rows) {
    rows.forEach((row, at) => {
      if (this.list.children[at] !== row) this.list.insertBefore(row, this.list.children[at] ?? null);
    });
    while (this.list.children.length > rows.length) this.list.lastElementChild.remove();
  }

  #animate(tops) {
    for (const [id, row] of this.#rows) {
      const before = tops.get(id);
      const moved = before === undefined ? null : before - row.getBoundingClientRect().top;
      if (moved === null) row.animate([{ opacity: 0 }, { opacity: 1 }], MOVE);
      else if (moved !== 0) {
        row.animate([{ transform: `translateY(${moved}px)` }, { transform: "none" }], MOVE);
      }
    }
  }

  #fill(row, entry, against) {
    const { id, document, rank, score, lost, relevant } = entry;
    row.className = lost === null ? "hit" : "lost";
    const { heading, text } = words(id, document);
    const isOpen = this.#open.has(id);
    const parts = [
      lost === null ? html("span", { class: "rank" }, String(rank)) : null,
      lost === null ? movement(entry, against) : html("span", { class: "moved gone" }, "lost"),
      html(
        "div",
        { class: "hit-body" },
        html("p", { class: "title" }, ...breakable(heading), relevant ? mark() : null),
        lost === null ? null : html("p", { class: "why" }, lost),
        text && lost === null ? html("p", { class: isOpen ? "text open" : "text" }, isOpen ? text : shortened(text, SHORT)) : null,
        lost === null ? this.#foot(id, document, text, isOpen, () => this.#fill(row, entry, against)) : null,
      ),
      score === null ? null : html("span", { class: "score" }, score.toFixed(3)),
    ];
    row.replaceChildren(...parts.filter((part) => part !== null));
  }

  #foot(id, document, text, isOpen, again) {
    const known = Object.entries(document?.metadata ?? {}).map(([name, value]) => `${name} ${value}`);
    if (id !== document?.title) known.unshift(id);
    const toggle = (event) => {
      if (isOpen) this.#open.delete(id);
      else this.#open.add(id);
      const row = event.currentTarget.closest("li");
      again();
      row.querySelector("button")?.focus();
    };
    const label = isOpen ? "less" : "more";
    const attributes = { type: "button", class: "plain", "aria-expanded": String(isOpen), onclick: toggle };
    return html(
      "p",
      { class: "meta quiet" },
      html("span", {}, ...breakable(known.join(" · "))),
      text.length > SHORT || text.includes("\n") ? html("button", attributes, label) : null,
    );
  }
}

/** The heading and the text of a document; without a title, the heading is the first words. */
export function words(id, document) {
  if (!document) return { heading: id, text: "" };
  if (document.title) return { heading: document.title, text: document.text };
  return { heading: shortened(document.text, 90) || id, text: document.text };
}

function mark() {
  return html("span", { class: "relevant" }, "✓ relevant");
}

function movement({ rank, was }, against) {
  if (was === undefined) return html("span", { class: "moved" });
  if (was === null) return html("span", { class: "moved new" }, "new", unseen(`, not in the results of ${against}`));
  const moved = was - rank;
  if (moved === 0) return html("span", { class: "moved same" }, "=", unseen(" same rank"));
  const way = moved > 0 ? "up" : "down";
  const sign = moved > 0 ? "▲" : "▼";
  return html(
    "span",
    { class: `moved ${way}` },
    html("span", { "aria-hidden": "true" }, `${sign}\u2009${Math.abs(moved)}`),
    unseen(`${counted(Math.abs(moved), "rank")} ${way} compared with ${against}`),
  );
}
