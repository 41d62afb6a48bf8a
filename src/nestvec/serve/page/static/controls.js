// The controls of the operating point: sliders for each stage, its text form, and presets.
// All three show the same point; a change of one updates the others.

import { byId, html } from "./dom.js";
import { formatPoint, inWords, parsePoint } from "./point.js";
import { StageCard } from "./stage_card.js";

const MOST_STAGES = 3;
const SHORTLIST = 200;

/** The panel of controls; `onPoint` is called with the text form of the selected point. */
export class Controls {
  #stages = [];
  #cards = [];

  constructor(served, onPoint) {
    this.served = served;
    this.onPoint = onPoint;
    this.text = byId("point");
    this.words = byId("point-words");
    this.more = byId("add-stage");
    this.text.addEventListener("input", () => onPoint(this.text.value.trim()));
    byId("point-form").addEventListener("submit", (event) => event.preventDefault());
    this.more.addEventListener("click", () => this.#add());
    byId("tiers-only").hidden = served.anyPoint;
    this.presets = served.presets.map((preset) => this.#preset(preset));
    byId("presets").append(...this.presets.map(({ node }) => node));
  }

  /** Show a point; an invalid point does not change the sliders. */
  show(text) {
    if (document.activeElement !== this.text || parsePoint(this.text.value) !== null) {
      if (this.text.value.trim() !== text) this.text.value = text;
    }
    const stages = parsePoint(text);
    this.text.setAttribute("aria-invalid", String(stages === null));
    if (stages === null) return;
    this.#stages = stages;
    while (this.#cards.length < stages.length) this.#append();
    while (this.#cards.length > stages.length) this.#cards.pop().node.remove();
    this.#cards.forEach((card, at) => card.show(stages[at], at, stages.length));
    this.more.hidden = stages.length >= MOST_STAGES || !this.served.anyPoint;
    this.words.textContent = inWords(stages, this.served.fullDim);
    for (const { node, point } of this.presets) {
      node.setAttribute("aria-pressed", String(point === formatPoint(stages)));
    }
  }

  #append() {
    const at = this.#cards.length;
    const card = new StageCard({
      served: this.served,
      onChange: (stage) => this.#change(at, stage),
      onRemove: () => this.#remove(at),
    });
    this.#cards.push(card);
    byId("stages").append(card.node);
  }

  #change(at, stage) {
    const stages = this.#stages.with(at, stage);
    // A later stage cannot have a longer shortlist than an earlier one, so the others are adjusted.
    const keep = stage.keep ?? Infinity;
    this.#pick(
      stages.map((each, place) => {
        if (each.keep === null) return each;
        const limited = place < at ? Math.max(each.keep, stage.keep ?? 0) : Math.min(each.keep, keep);
        return { ...each, keep: limited };
      }),
    );
  }

  #add() {
    const last = this.#stages.at(-1);
    const keep = Math.min(SHORTLIST, this.#stages.at(-2)?.keep ?? SHORTLIST);
    const rescore = { dim: this.served.fullDim, precision: "float16", keep: null };
    this.#pick([...this.#stages.slice(0, -1), { ...last, keep }, rescore]);
    this.#cards.at(-1).dim.input.focus();
  }

  #remove(at) {
    const stages = this.#stages.filter((_, place) => place !== at);
    this.#pick([...stages.slice(0, -1), { ...stages.at(-1), keep: null }]);
    this.more.focus();
  }

  #pick(stages) {
    const text = formatPoint(stages);
    this.show(text);
    this.onPoint(text);
  }

  #preset({ name, point, note }) {
    const pick = () => this.#pick(parsePoint(point));
    const attributes = { type: "button", class: "chip", title: `${note}: ${point}`, onclick: pick };
    return { point, node: html("button", attributes, name) };
  }
}
