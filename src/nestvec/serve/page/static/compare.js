// Compare texts of the user: a table of cosine similarities for each number of dims.

import { Latest, post } from "./api.js";
import { byId, html } from "./dom.js";
import { announce, hideError, showError } from "./messages.js";
import { Snippet } from "./snippet.js";
import { count, shortened } from "./wording.js";

const TYPING_MS = 250;
const MOST = 32;
const EXAMPLE = [
  "How do I read a CSV file?",
  "Parse comma-separated values into rows",
  "Open a zip archive",
  "Compress data before sending it",
  "What time is it in Tokyo?",
].join("\n");
const PYTHON = `for dim, matrix in zip(result["dims"], result["matrices"]):
    print(dim, *(" ".join(f"{value:5.2f}" for value in row) for row in matrix), sep="\\n")`;

/** The view to compare texts. */
export class Compare {
  #latest = new Latest();
  #timer = null;

  constructor() {
    this.lines = byId("lines");
    this.lines.value = EXAMPLE;
    this.snippet = new Snippet("compare-snippet");
    this.lines.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#run(), TYPING_MS);
    });
  }

  /** Draw the view when it is first opened. */
  open() {
    if (!byId("matrices").childElementCount) this.#run();
  }

  #run() {
    const texts = this.lines.value.split("\n").map((line) => line.trim()).filter(Boolean);
    if (texts.length < 2 || texts.length > MOST) {
      byId("compare-summary").textContent = `${count(texts.length)} lines. Enter 2 to ${MOST} lines.`;
      return;
    }
    const body = { texts };
    this.#latest.run((signal) => this.#compare(body, signal), { urgent: true });
  }

  async #compare(body, signal) {
    try {
      const answer = await post("v1/compare", body, signal);
      hideError();
      this.#draw(body.texts, answer);
      this.snippet.show({ path: "v1/compare", body, python: PYTHON }, answer);
    } catch (error) {
      if (signal.aborted) throw error;
      showError(error);
    }
  }

  #draw(texts, { dims, matrices }) {
    const widest = matrices[dims.indexOf(Math.max(...dims))];
    const sorted = dims.map((dim, at) => ({ dim, matrix: matrices[at] })).sort((one, other) => other.dim - one.dim);
    byId("matrices").replaceChildren(...sorted.map(({ dim, matrix }) => heatMap(texts, dim, matrix, widest)));
    const [, narrowest] = [sorted[0], sorted.at(-1)];
    const text = `At ${narrowest.dim} dims, ${difference(narrowest.matrix, widest, texts)}.`;
    byId("compare-summary").textContent = text;
    announce(`${count(dims.length)} tables. ${text}`);
  }
}

function heatMap(texts, dim, matrix, widest) {
  const moved = matrix === widest ? "" : difference(matrix, widest, texts);
  const numbers = texts.map((_, at) => html("th", { scope: "col" }, html("abbr", { title: texts[at] }, String(at + 1))));
  const rows = matrix.map((row, at) =>
    html(
      "tr",
      {},
      html("th", { scope: "row" }, html("span", { class: "number" }, `${at + 1} `), shortened(texts[at], 28)),
      ...row.map((value, other) => cell(value, at === other)),
    ),
  );
  return html(
    "div",
    { class: "scroll matrix", tabindex: 0, role: "group", "aria-label": `Similarities at ${dim} dims` },
    html(
      "table",
      {},
      html("caption", {}, html("strong", {}, `${count(dim)} dims`), html("span", { class: "quiet" }, moved ? ` ${moved}` : " all dims")),
      html("thead", {}, html("tr", {}, html("td", {}), ...numbers)),
      html("tbody", {}, ...rows),
    ),
  );
}

function cell(value, isSelf) {
  const shown = value.toFixed(2).replace(/^-(0\.00)$/, "$1").replace("-", "−");
  const node = html("td", { class: isSelf ? "self" : value < 0 ? "heat opposed" : "heat" }, shown);
  const strength = Math.min(Math.abs(value), 1);
  node.style.setProperty("--heat", `${Math.round(100 * strength)}%`);
  node.classList.toggle("hot", strength > 0.55);
  return node;
}

/** Describe the pair of lines whose similarity changes most. */
function difference(matrix, widest, texts) {
  let most = { by: 0, one: 0, other: 1 };
  for (let one = 0; one < texts.length; one += 1) {
    for (let other = one + 1; other < texts.length; other += 1) {
      const by = matrix[one][other] - widest[one][other];
      if (Math.abs(by) > Math.abs(most.by)) most = { by, one, other };
    }
  }
  if (most.by === 0) return "no similarity changes";
  const sign = most.by > 0 ? "+" : "−";
  return `lines ${most.one + 1} and ${most.other + 1} change most, by ${sign}${Math.abs(most.by).toFixed(2)}`;
}
