// The controls of one stage: dims, precision and length of the shortlist.

import { html, svg } from "./dom.js";
import { BITS, PRECISIONS, codeBytes } from "./point.js";
import { Slider } from "./slider.js";
import { bytes, count } from "./wording.js";

const KEEPS = [10, 20, 25, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000];
const WIDTH = 72;
const HEIGHT = 32; // one unit per bit

/** The card of one stage. It is reused when values change, so that dragging is not interrupted. */
export class StageCard {
  constructor({ served, onChange, onRemove }) {
    this.served = served;
    const change = (name) => (value) => onChange({ ...this.stage, [name]: value });
    this.dim = new Slider({ name: "Dims", describe: count, onPick: change("dim") });
    this.precision = new Slider({ name: "Precision", describe: String, onPick: change("precision") });
    this.keep = new Slider({ name: "Shortlist", describe: count, onPick: change("keep") });
    if (!served.anyPoint) [this.dim, this.precision, this.keep].forEach((slider) => slider.disable());
    this.title = html("strong", {});
    this.size = html("span", { class: "quiet" });
    this.area = svg("rect", { class: "area", y: 0, height: HEIGHT });
    this.remove = html("button", { type: "button", class: "plain", onclick: onRemove }, "remove");
    const picture = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "size", "aria-hidden": "true" },
      svg("rect", { class: "whole", width: WIDTH, height: HEIGHT }),
      this.area,
    );
    this.node = html(
      "div",
      { class: "stage", role: "group" },
      html("div", { class: "stage-head" }, picture, html("p", {}, this.title, " ", this.size), this.remove),
      this.dim.node,
      this.precision.node,
      this.keep.node,
    );
  }

  /** Show a stage, which is number `at` of `total`. */
  show(stage, at, total) {
    this.stage = stage;
    const { searchedDims, precisions, mostKept, nDocuments } = this.served;
    this.dim.show(searchedDims, stage.dim);
    const byBits = (one, other) => PRECISIONS.indexOf(one) - PRECISIONS.indexOf(other);
    this.precision.show(PRECISIONS.filter((name) => precisions.includes(name)), stage.precision, byBits);
    this.keep.node.hidden = stage.keep === null;
    if (stage.keep !== null) {
      this.keep.show(KEEPS.filter((keep) => keep < nDocuments && keep <= mostKept), stage.keep);
    }
    const work = at === 0 ? "Scan" : "Rescore";
    this.title.textContent = total === 1 ? work : `${at + 1} ${work}`;
    this.node.setAttribute("aria-label", total === 1 ? work : `Stage ${at + 1}, ${work}`);
    this.size.textContent = `${bytes(codeBytes(stage))} per vector`;
    this.remove.hidden = at === 0 || !this.served.anyPoint;
    this.remove.setAttribute("aria-label", `Remove stage ${at + 1}`);
    this.node.style.setProperty("--color", `var(--${stage.precision})`);
    this.#draw(stage);
  }

  /** Draw the part of a float32 vector that is used: dims horizontally, bits vertically. */
  #draw({ dim, precision }) {
    const height = Math.max((BITS[precision] * HEIGHT) / BITS.float32, 1.5);
    this.area.setAttribute("width", Math.max((WIDTH * dim) / this.served.fullDim, 1.5));
    this.area.setAttribute("height", height);
    this.area.setAttribute("y", HEIGHT - height);
  }
}
