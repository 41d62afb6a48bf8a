// Format numbers as in the rest of nestvec, with units.

const NO_BREAK = "\u00a0";

/** 7389 -> "7,389" */
export function count(value) {
  return Math.round(value).toLocaleString("en-US");
}

/** 1, "rank" -> "1 rank"; 3, "rank" -> "3 ranks" */
export function counted(value, noun) {
  return `${count(value)}${NO_BREAK}${noun}${value === 1 ? "" : "s"}`;
}

/** Milliseconds with two significant digits or more. */
export function milliseconds(value) {
  const digits = value < 1 ? 2 : value < 100 ? 1 : 0;
  return `${value.toFixed(digits)}${NO_BREAK}ms`;
}

/** Bytes with a suitable unit. */
export function bytes(value) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e4]]) {
    const scale = unit === "kB" ? 1e3 : size;
    if (value >= size) return `${(value / scale).toFixed(value / scale < 100 ? 1 : 0)}${NO_BREAK}${unit}`;
  }
  return `${count(value)}${NO_BREAK}B`;
}

/** A share as a percentage with one decimal. */
export function percent(share) {
  return `${(100 * share).toFixed(1)}${NO_BREAK}%`;
}

/** "ndcg@10" -> "nDCG@10" */
export function metricName(metric) {
  const names = { ndcg: "nDCG", mrr: "MRR", map: "MAP" };
  const [name, ...rest] = metric.split("@");
  return [names[name] ?? name, ...rest].join("@");
}

/** The start of a text, in one line. */
export function shortened(text, length) {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length <= length ? line : `${line.slice(0, length - 1).trimEnd()}…`;
}
