// What this server serves, in the form that the views need.

import { ApiError, get, post } from "./api.js";

const TRIED = 8;

/** Load it from the server; absent parts are null or empty. */
export async function loadServed() {
  const [models, curve, plan, queries] = await Promise.all([
    get("v1/models"),
    unlessAbsent(get("v1/curve")),
    unlessAbsent(get("v1/plan")),
    unlessAbsent(get("v1/queries")),
  ]);
  const [model] = models.data;
  const index = model.index ?? null;
  const tiers = Object.entries(model.tiers ?? {});
  const point = model.point ?? "";
  const presets = [
    ...(index ? [{ name: "index default", point, note: "Operating point of the index" }] : []),
    ...tiers.map(([name, tier]) => ({ name, point: tier, note: `Tier ${model.id}:${name}` })),
    ...(plan ? [{ name: "plan", point: plan.point, note: "Chosen by the plan" }] : []),
  ];
  return {
    model: model.id,
    fullDim: model.full_dim,
    minDim: model.min_dim,
    dims: ascending(model.dims),
    searchedDims: ascending(index?.dims ?? model.dims),
    precisions: index?.precisions ?? [],
    mostKept: index?.most_kept ?? 0,
    anyPoint: index?.any_point ?? false,
    hasIndex: index !== null,
    nDocuments: index?.documents ?? 0,
    point,
    presets: index ? mergeEqualPoints(presets) : [],
    curve,
    plan,
    queries: queries?.data ?? [],
  };
}

/** The first example query with a relevant result; empty without examples. */
export async function firstQuery({ queries }) {
  try {
    for (const { text, relevant } of queries.slice(0, TRIED)) {
      const { hits } = await post("v1/search", { query: text });
      if (hits.some(({ id }) => relevant.includes(id))) return text;
    }
  } catch {
    // The next search shows the error.
  }
  return queries[0]?.text ?? "";
}

function ascending(numbers) {
  return [...numbers].sort((one, other) => one - other);
}

/** Presets with the same point share a button. */
function mergeEqualPoints(presets) {
  const named = new Map();
  for (const preset of presets) {
    const other = named.get(preset.point);
    named.set(preset.point, other ? { ...other, name: `${other.name}, ${preset.name}` } : preset);
  }
  return [...named.values()];
}

async function unlessAbsent(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}
