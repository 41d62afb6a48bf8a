// The text form of operating points: stages joined by ">", each dim:precision[@keep].
// The server checks whether the index supports a point.

/** From the fewest bits to the most, in the order of the slider. */
export const PRECISIONS = ["sign", "binary", "int2", "pq4", "int4", "int8", "float16", "float32"];
export const BITS = { sign: 1, binary: 1, int2: 2, pq4: 2, int4: 4, int8: 8, float16: 16, float32: 32 };

const STAGE = /^([0-9]{1,9}):([a-z0-9]+)(?:@([0-9]{1,9}))?$/;

/** Parse the text form; null if it is invalid. */
export function parsePoint(text) {
  const stages = text.trim().split(">").map((part) => {
    const match = STAGE.exec(part.trim());
    if (match === null || !(match[2] in BITS) || Number(match[1]) < 1) return null;
    return { dim: Number(match[1]), precision: match[2], keep: match[3] ? Number(match[3]) : null };
  });
  const last = stages.length - 1;
  const sound = stages.every(
    (stage, at) => stage !== null && (at === last ? stage.keep === null : stage.keep > 0),
  );
  // A later stage must not have a longer shortlist than an earlier one.
  const keeps = stages.map((stage) => stage?.keep ?? 0);
  return sound && keeps.every((keep, at) => at === 0 || keep <= keeps[at - 1]) ? stages : null;
}

/** Return the text form. */
export function formatPoint(stages) {
  return stages.map(formatStage).join(">");
}

/** Return the text form of one stage. */
export function formatStage({ dim, precision, keep }) {
  return `${dim}:${precision}${keep === null ? "" : `@${keep}`}`;
}

/** Bytes per vector. */
export function codeBytes({ dim, precision }) {
  return Math.ceil((dim * BITS[precision]) / 8);
}

/** Describe the search of a point. */
export function inWords(stages, fullDim) {
  const part = ({ dim, precision }) => {
    const bits = precision === "pq4" ? "4 bits per pair" : `${BITS[precision]} bit${BITS[precision] > 1 ? "s" : ""} each`;
    return `${dim === fullDim ? "all" : "the first"} ${dim} dims at ${bits}`;
  };
  const [first, ...later] = stages;
  const shortlist = ({ keep }) => (keep === null ? "" : `, shortlists the best ${keep}`);
  const again = later.map((stage) => ` Then rescores them with ${part(stage)}${shortlist(stage)}.`);
  return `Scans ${part(first)}${shortlist(first)}.${again.join("")}`;
}
