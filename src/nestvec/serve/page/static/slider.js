// A slider over a list of values: a native range input, so that keys and screen readers know it.

import { html } from "./dom.js";

/** One labeled slider. `onPick` is called with the value as it moves. */
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

  /** Leave it to be read only. */
  disable() {
    this.input.disabled = true;
  }

  /** Show a value among others; one that is not among them takes its place in their order. */
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
