// The measured curve of this model: quality of each point against memory.
// The current point is marked. Clicking a point, or selecting it with keys, searches with it.

import { html, svg } from "./dom.js";
import { codeBytes, parsePoint } from "./point.js";
import { axes, legend, marker, place } from "./curve_drawing.js";
import { bytes, count, metricName, milliseconds, percent } from "./wording.js";

const REACH = 26; // of a click, in units of the picture

/** The chart of a curve; `onPick` is called with the text form of the selected point. */
export class CurveChart {
  #active = null;
  #point = "";

  constructor({ curve, plan, onPick }) {
    Object.assign(this, { curve, plan, onPick });
    this.metrics = Object.keys(curve.points[0].metrics);
    this.metric = plan?.goal?.metric ?? this.metrics[0];
    this.readout = html("p", { class: "readout" });
    this.holder = html("div", {});
    this.legend = html("ul", { class: "legend" });
    const choose = html(
      "select",
      { onchange: (event) => this.#measure(event.target.value) },
      ...this.metrics.map((metric) => html("option", { value: metric, selected: metric === this.metric }, metricName(metric))),
    );
    this.node = html(
      "div",
      {},
      html("label", { class: "small" }, curve.evidence === "agreement" ? "Agreement with full precision: " : "Retention of ", choose),
      this.holder,
      this.legend,
      this.readout,
      html("p", { class: "small" }, basis(curve)),
    );
    this.#measure(this.metric);
  }

  /** Mark the current point. */
  show(text) {
    this.#point = text;
    this.here.replaceChildren(...this.#here());
    for (const spot of this.spots) {
      spot.node.setAttribute("aria-selected", String(spot.row.point === text));
    }
    this.#read();
  }

  #measure(metric) {
    this.metric = metric;
    this.spots = spots(this.curve, metric);
    this.frame = place(this.spots);
    this.here = svg("g", { class: "here" });
    for (const spot of this.spots) this.#draw(spot);
    this.chart = svg(
      "svg",
      {
        viewBox: `0 0 ${this.frame.width} ${this.frame.height}`,
        class: "picture chart",
        role: "listbox",
        tabindex: 0,
        "aria-label": `Measured points by memory and ${metricName(metric)}; arrow keys select a point, Enter searches with it`,
        onkeydown: (event) => this.#key(event),
        onclick: (event) => this.#click(event),
        onpointermove: (event) => this.#hover(this.#nearest(event)),
        onpointerleave: () => this.#hover(null),
        onblur: () => this.#hover(null),
      },
      ...axes(this.frame, this.spots),
      ...this.spots.map(({ node }) => node),
      ...this.#planned(),
      this.here,
    );
    this.holder.replaceChildren(this.chart);
    this.legend.replaceChildren(...legend(this.spots));
    this.show(this.#point);
  }

  #draw(spot) {
    const [x, y] = this.frame.at(spot);
    spot.node = svg(
      "g",
      { role: "option", id: `spot-${spot.number}`, class: `spot ${spot.kind}`, "aria-label": describe(spot), "data-point": spot.row.point },
      marker(spot.row, x, y),
    );
    spot.node.style.setProperty("--color", `var(--${spot.precision})`);
  }

  #planned() {
    const spot = this.spots.find(({ row }) => row.point === this.plan?.point);
    if (!spot) return [];
    const [x, y] = this.frame.at(spot);
    return [
      svg("circle", { class: "planned", cx: x, cy: y, r: 7 }),
      svg("text", { class: "planned-name", x, y: y - 13, "text-anchor": "middle" }, "plan"),
    ];
  }

  #here() {
    const spot = this.spots.find(({ row }) => row.point === this.#point);
    if (spot) {
      const [x, y] = this.frame.at(spot);
      return [svg("circle", { cx: x, cy: y, r: 10 }), svg("circle", { cx: x, cy: y, r: 2.5, class: "dot" })];
    }
    const stages = parsePoint(this.#point);
    if (stages === null) return [];
    const x = this.frame.x(codeBytes(stages[0]));
    const { top, bottom } = this.frame;
    return [
      svg("line", { x1: x, x2: x, y1: top, y2: bottom }),
      svg("text", { x, y: top - 4, "text-anchor": "middle" }, "not measured"),
    ];
  }

  #hover(spot) {
    this.#active?.node.classList.remove("active");
    this.#active = spot;
    spot?.node.classList.add("active");
    if (spot) this.chart.setAttribute("aria-activedescendant", spot.node.id);
    this.#read();
  }

  #nearest(event) {
    const box = this.chart.getBoundingClientRect();
    const scale = this.frame.width / box.width;
    const x = (event.clientX - box.left) * scale;
    const y = (event.clientY - box.top) * scale;
    const away = (spot) => Math.hypot(this.frame.at(spot)[0] - x, this.frame.at(spot)[1] - y);
    const [first] = [...this.spots].sort((one, other) => away(one) - away(other));
    return away(first) <= REACH ? first : null;
  }

  #click(event) {
    const spot = this.#nearest(event);
    if (spot) this.onPick(spot.row.point);
  }

  #key(event) {
    const at = this.spots.indexOf(this.#active ?? this.spots.find(({ row }) => row.point === this.#point));
    const last = this.spots.length - 1;
    const steps = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1, Home: 0, End: last };
    if (event.key in steps) this.#hover(this.spots[Math.min(Math.max(steps[event.key], 0), last)]);
    else if ((event.key === "Enter" || event.key === " ") && this.#active) this.onPick(this.#active.row.point);
    else return;
    event.preventDefault();
  }

  #read() {
    const spot = this.#active ?? this.spots.find(({ row }) => row.point === this.#point);
    if (spot) {
      this.readout.replaceChildren(html("code", {}, spot.row.point), ` ${summary(spot)}`);
    } else {
      this.readout.replaceChildren(html("code", {}, this.#point), " was not measured on this curve.");
    }
  }
}

/** The rows as spots to draw, sorted for key navigation: by memory, then by share. */
function spots(curve, metric) {
  const best = new Map();
  for (const row of curve.points) {
    const size = row.ram_bytes_per_vector;
    const isBetter = !best.has(size) || row.retention[metric] > best.get(size).retention[metric];
    if (row.point.includes(">") && isBetter) best.set(size, row);
  }
  return curve.points
    .map((row) => {
      const stages = parsePoint(row.point);
      const kind = stages.length === 1 ? "single" : best.get(row.ram_bytes_per_vector) === row ? "best" : "other";
      const interval = row.interval?.[metric] ?? null;
      return { row, kind, interval, precision: stages[0].precision, size: row.ram_bytes_per_vector, share: row.retention[metric] };
    })
    .sort((one, other) => one.size - other.size || one.share - other.share)
    .map((spot, number) => ({ ...spot, number }));
}

function summary({ row, share, interval, size }) {
  const range = interval ? ` (95 % interval ${(100 * interval[0]).toFixed(1)}–${(100 * interval[1]).toFixed(1)})` : "";
  return `retains ${percent(share)}${range}, ${bytes(size)} of memory per vector, ${milliseconds(row.p50_ms)}`;
}

/** The evidence behind the percentages. */
function basis({ dataset, evidence }) {
  const queries = dataset.n_queries ? `${count(dataset.n_queries)} queries` : "queries";
  const kinds = {
    agreement: `${queries} without relevance labels`,
    "made queries": `${queries} generated from the corpus`,
  };
  return `Measured on ${kinds[evidence] ?? `${queries} with relevance labels`}. 100 % is full precision (all dims at float32).`;
}

function describe(spot) {
  return `${spot.row.point}: ${summary(spot)}`;
}
