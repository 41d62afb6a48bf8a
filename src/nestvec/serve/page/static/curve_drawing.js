// The parts of the curve chart: scales, grid, lines and the markers of the precisions.

import { html, pictureWidth, svg } from "./dom.js";
import { PRECISIONS } from "./point.js";
import { bytes } from "./wording.js";

const HEIGHT = 320;
const LEFT = 40;
const RIGHT = 20;
const TOP = 30;
const BOTTOM = 34;
const STEP = 0.1;

/** Return the scales of a chart of all spots. */
export function place(spots) {
  const sizes = spots.map(({ size }) => size);
  const shares = spots.map(({ share }) => share);
  const low = Math.log2(Math.min(...sizes)) - 0.6;
  const high = Math.log2(Math.max(...sizes)) + 0.4;
  const floor = Math.max(0, STEP * Math.floor((Math.min(...shares) - 0.01) / STEP));
  const roof = Math.max(1, ...shares) + (1 - floor) * 0.05;
  const width = pictureWidth();
  const right = width - RIGHT;
  const x = (size) => LEFT + ((Math.log2(size) - low) / (high - low)) * (right - LEFT);
  const y = (share) => HEIGHT - BOTTOM - ((share - floor) / (roof - floor)) * (HEIGHT - TOP - BOTTOM);
  const at = ({ size, share }) => [x(size), y(share)];
  const frame = { width, right, height: HEIGHT, top: TOP, bottom: HEIGHT - BOTTOM };
  return { ...frame, x, y, at, floor, roof, low, high };
}

/** Draw the grid, the single-stage line of each precision, and the line of the best rescored points. */
export function axes(frame, spots) {
  return [...levels(frame), ...sizes(frame), ...lines(frame, spots), rescored(frame, spots)];
}

function levels({ y, right, floor, roof }) {
  const step = roof - floor > 0.5 ? 0.2 : roof - floor > 0.25 ? 0.1 : 0.05;
  const first = Math.ceil(floor / step - 1e-9);
  const shares = Array.from({ length: 12 }, (_, at) => (first + at) * step).filter((share) => share <= roof);
  return shares.flatMap((share) => [
    svg("line", { class: share === 1 ? "whole" : "rule", x1: LEFT, x2: right, y1: y(share), y2: y(share) }),
    svg("text", { class: "tick", x: LEFT - 6, y: y(share) + 3.5, "text-anchor": "end" }, `${Math.round(100 * share)}${share > 0.999 && share < 1.001 ? " %" : ""}`),
  ]);
}

function sizes({ x, right, low, high, bottom }) {
  const powers = [];
  for (let power = Math.ceil(low); power <= high; power += 1) powers.push(power);
  const shown = powers.filter((power) => powers.length <= 6 || (power - powers[0]) % 2 === 0);
  return [
    ...shown.map((power) =>
      svg("text", { class: "tick", x: x(2 ** power), y: bottom + 15, "text-anchor": "middle" }, bytes(2 ** power).replace(/.B$/u, "")),
    ),
    svg("text", { class: "tick", x: right, y: bottom + 29, "text-anchor": "end" }, "bytes of memory per vector, log scale"),
  ];
}

function lines({ at }, spots) {
  return PRECISIONS.flatMap((precision) => {
    const own = spots.filter((spot) => spot.kind === "single" && spot.precision === precision);
    if (!own.length) return [];
    const line = svg("polyline", { class: "line", points: own.map((spot) => at(spot).join()).join(" ") });
    line.style.setProperty("--color", `var(--${precision})`);
    return [line];
  });
}

function rescored({ at }, spots) {
  const best = spots.filter(({ kind }) => kind === "best");
  return svg("polyline", { class: "line heavy", points: best.map((spot) => at(spot).join()).join(" ") });
}

/** The marker of a precision, as in the report. */
export function marker({ point }, x, y) {
  if (point.includes(">")) return svg("circle", { cx: x, cy: y, r: 3 });
  const precision = point.split(":")[1];
  const shapes = {
    float32: () => svg("circle", { cx: x, cy: y, r: 4 }),
    float16: () => polygon(x, y, [[-4.5, -4], [4.5, -4], [0, 4.5]]),
    int8: () => svg("rect", { x: x - 3.6, y: y - 3.6, width: 7.2, height: 7.2 }),
    int4: () => polygon(x, y, [[0, -5.2], [5.2, 0], [0, 5.2], [-5.2, 0]]),
    int2: () => polygon(x, y, [[0, -4.5], [4.5, 4], [-4.5, 4]]),
    binary: () => polygon(x, y, PLUS),
    pq4: () => polygon(x, y, PLUS.map(([dx, dy]) => [0.71 * (dx - dy), 0.71 * (dx + dy)])),
  };
  return shapes[precision]();
}

const PLUS = [[-1.7, -5], [1.7, -5], [1.7, -1.7], [5, -1.7], [5, 1.7], [1.7, 1.7], [1.7, 5], [-1.7, 5], [-1.7, 1.7], [-5, 1.7], [-5, -1.7], [-1.7, -1.7]];

function polygon(x, y, corners) {
  return svg("polygon", { points: corners.map(([dx, dy]) => `${x + dx},${y + dy}`).join(" ") });
}

/** The legend of the markers, for the precisions on the curve. */
export function legend(spots) {
  const seen = new Set(spots.filter(({ kind }) => kind === "single").map(({ precision }) => precision));
  const items = [...PRECISIONS].reverse().filter((precision) => seen.has(precision));
  const named = items.map((precision) => [precision, `0:${precision}`, `var(--${precision})`]);
  if (spots.some(({ kind }) => kind === "best")) named.push(["shortlist and rescoring", ">", "var(--ink)"]);
  return named.map(([name, point, color]) => {
    const item = html("li", {}, svg("svg", { viewBox: "-7 -7 14 14", "aria-hidden": "true" }, svg("g", { class: "spot" }, marker({ point }, 0, 0))), name);
    item.style.setProperty("--color", color);
    return item;
  });
}
