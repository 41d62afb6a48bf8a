// The vector of one text: its values, and the share of its squared length in the first dims.

import { Latest, post } from "./api.js";
import { byId, html, pictureWidth, svg } from "./dom.js";
import { announce, hideError, showError } from "./messages.js";
import { Slider } from "./slider.js";
import { Snippet } from "./snippet.js";
import { bytes, count, percent } from "./wording.js";

const TYPING_MS = 200;
const CELL = 10;
const SHOWN = 6; // values in the summary
const PYTHON = 'print(result["data"][0]["embedding"][:8], result["usage"])';

/** The view to inspect a vector. */
export class Embed {
  #latest = new Latest();
  #timer = null;

  constructor(served) {
    this.served = served;
    this.dim = served.dims.at(Math.floor(served.dims.length / 2));
    this.text = byId("embed-text");
    this.text.value = "How do I read a CSV file?";
    this.snippet = new Snippet("embed-snippet");
    this.slider = new Slider({
      name: "Dims",
      describe: count,
      onPick: (dim) => {
        this.dim = dim;
        this.#run();
      },
    });
    this.slider.show(served.dims, this.dim);
    byId("embed-dims").append(this.slider.node);
    this.text.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#run(), TYPING_MS);
    });
  }

  /** Draw the view when it is first opened. */
  open() {
    if (!byId("vector").childElementCount) this.#run();
  }

  #run() {
    const text = this.text.value.trim();
    if (text) this.#latest.run((signal) => this.#embed(text, this.dim, signal));
  }

  async #embed(text, dim, signal) {
    const body = { model: this.served.model, input: text, dimensions: dim, encoding_format: "float" };
    try {
      const full = this.whole?.text === text ? this.whole : await this.#whole(text, signal);
      const answer = await post("v1/embeddings", body, signal);
      hideError();
      this.whole = full;
      this.#draw(full.vector, answer.data[0].embedding, answer.usage);
      this.snippet.show({ path: "v1/embeddings", body, python: PYTHON }, answer);
    } catch (error) {
      if (signal.aborted) throw error;
      showError(error);
    }
  }

  async #whole(text, signal) {
    const body = { model: this.served.model, input: text, encoding_format: "float" };
    const answer = await post("v1/embeddings", body, signal);
    return { text, vector: answer.data[0].embedding };
  }

  #draw(vector, prefix, usage) {
    const length = vector.reduce((sum, value) => sum + value * value, 0);
    const share = (dim) => vector.slice(0, dim).reduce((sum, value) => sum + value * value, 0) / length;
    const first = prefix.slice(0, SHOWN).map((value) => value.toFixed(3)).join(", ");
    const summary = `${count(prefix.length)} of ${count(vector.length)} dims contain ${percent(share(prefix.length))} of the squared length`;
    byId("vector").replaceChildren(
      picture(vector, prefix.length),
      html("p", { class: "summary" }, `${summary}. Truncated vector, scaled to length 1: ${first}, … (${count(usage.prompt_tokens)} tokens)`),
      sizes(this.served.dims, share, prefix.length),
    );
    announce(summary);
  }
}

/** One cell per value: a stronger color is further from zero, blue above and red below zero. */
function picture(vector, nRetained) {
  const columns = Math.min(pictureWidth() < 460 ? 32 : 64, vector.length);
  const rows = Math.ceil(vector.length / columns);
  const peak = Math.max(...vector.map(Math.abs), 1e-9);
  const cells = vector.map((value, at) => {
    const cell = svg("rect", {
      class: `${value < 0 ? "below" : "above"}${at < nRetained ? "" : " truncated"}`,
      x: (at % columns) * CELL,
      y: Math.floor(at / columns) * CELL,
      width: CELL - 1,
      height: CELL - 1,
    });
    cell.style.setProperty("--strength", Math.sqrt(Math.abs(value) / peak).toFixed(3));
    return cell;
  });
  return svg(
    "svg",
    { viewBox: `0 0 ${columns * CELL} ${rows * CELL}`, class: "vector", role: "img", "aria-label": `${count(vector.length)} dims, of which the first ${count(nRetained)} are retained` },
    ...cells,
  );
}

function sizes(dims, share, nRetained) {
  const columns = [["Dims", count], ["Squared length", (dim) => percent(share(dim))], ["float32", (dim) => bytes(4 * dim)], ["int8", (dim) => bytes(dim)], ["int4", (dim) => bytes(dim / 2)], ["binary", (dim) => bytes(dim / 8)]];
  return html(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": "Table of truncated sizes" },
    html(
      "table",
      {},
      html("thead", {}, html("tr", {}, ...columns.map(([name]) => html("th", { scope: "col" }, name)))),
      html(
        "tbody",
        {},
        ...[...dims].reverse().map((dim) =>
          html("tr", { class: dim === nRetained ? "chosen" : null }, ...columns.map(([, text], at) => html(at ? "td" : "th", at ? {} : { scope: "row" }, text(dim)))),
        ),
      ),
    ),
  );
}
