// A slider over a list of values: a native range input, which supports keys and screen readers.

import { html } from "./dom.js";

/** A labeled slider; `onPick` is called with each new value. */
export class Slider {
  #values = [];

  constructor({ name, describe, onPick }) {
    this.describe = describe;
    this.input = html("input", { type: "range", min: 0, step: 1 });
    this.output = html("output", { "aria-hidden": "true" });
    this.node = html("label", { class: "slider" }, html("span", {}, name), this.input, this.output);
    this.input.addEventListener("input", () => {
      this.#paint();
      onPick(this.value);
    });
  }

  get value() {
    return this.#values[Number(this.input.value)];
  }

  /** Make the slider read-only. */
  disable() {
    this.input.disabled = true;
  }

  /** Set the values and the current value, which is inserted in order if it is not in the list. */
  show(values, value, order = (one, other) => one - other) {
    this.#values = values.includes(value) ? values : [...values, value].sort(order);
    this.input.max = this.#values.length - 1;
    this.input.value = this.#values.indexOf(value);
    this.#paint();
  }

  #paint() {
    const steps = Math.max(this.#values.length - 1, 1);
    const text = this.describe(this.value);
    this.input.setAttribute("aria-valuetext", text);
    this.input.style.setProperty("--done", `${(100 * Number(this.input.value)) / steps}%`);
    this.input.style.setProperty("--steps", steps);
    this.output.value = text;
  }
}
