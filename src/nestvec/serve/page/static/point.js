// Operating points in their one text form: stages joined by ">", each dim:precision[@keep].
// Only reads and writes; what an index can run, the server says.

/** From the fewest bits to the most, as a slider goes. */
export const PRECISIONS = ["binary", "int2", "pq4", "int4", "int8", "float16", "float32"];
export const BITS = { binary: 1, int2: 2, pq4: 2, int4: 4, int8: 8, float16: 16, float32: 32 };

const STAGE = /^([0-9]{1,9}):([a-z0-9]+)(?:@([0-9]{1,9}))?$/;

/** Return the stages of a text form, or null where it is none. */
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
  // No later stage keeps more than an earlier one.
  const keeps = stages.map((stage) => stage?.keep ?? 0);
  return sound && keeps.every((keep, at) => at === 0 || keep <= keeps[at - 1]) ? stages : null;
}

/** Write the text form. */
export function formatPoint(stages) {
  return stages.map(formatStage).join(">");
}

/** Write one stage. */
export function formatStage({ dim, precision, keep }) {
  return `${dim}:${precision}${keep === null ? "" : `@${keep}`}`;
}

/** Bytes of one code. */
export function codeBytes({ dim, precision }) {
  return Math.ceil((dim * BITS[precision]) / 8);
}

/** Say in words what a point does. */
export function inWords(stages, fullDim) {
  const part = ({ dim, precision }) => {
    const bits = precision === "pq4" ? "product codes" : `${BITS[precision]} bit${BITS[precision] > 1 ? "s" : ""} each`;
    return `${dim === fullDim ? "all" : "the first"} ${dim} dims at ${bits}`;
  };
  const [first, ...later] = stages;
  const keeps = ({ keep }) => (keep === null ? "" : `, keeps the best ${keep}`);
  const again = later.map((stage) => ` Then scores these again with ${part(stage)}${keeps(stage)}.`);
  return `Scans ${part(first)}${keeps(first)}.${again.join("")}`;
}
