// What this server holds, as the views need it.

import { ApiError, get, post } from "./api.js";

const TRIED = 8;

/** Ask the server; what it does not have is null or empty. */
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
    ...(index ? [{ name: "index’s own", point, note: "How the index was built" }] : []),
    ...tiers.map(([name, tier]) => ({ name, point: tier, note: `Tier of this server, ${model.id}:${name}` })),
    ...(plan ? [{ name: "plan’s choice", point: plan.point, note: "Chosen from the curve" }] : []),
  ];
  return {
    model: model.id,
    fullDim: model.full_dim,
    dims: ascending(model.dims),
    searchedDims: ascending(index?.dims ?? model.dims),
    precisions: index?.precisions ?? [],
    mostKept: index?.most_kept ?? 0,
    anyPoint: index?.any_point ?? false,
    hasIndex: index !== null,
    nDocuments: index?.documents ?? 0,
    point,
    presets: index ? withoutTwins(presets) : [],
    curve,
    plan,
    queries: queries?.data ?? [],
  };
}

/** The first of some examples that the index answers; empty where there are none. */
export async function openingQuestion({ queries }) {
  try {
    for (const { text, relevant } of queries.slice(0, TRIED)) {
      const { hits } = await post("v1/search", { query: text });
      if (hits.some(({ id }) => relevant.includes(id))) return text;
    }
  } catch {
    // The search that follows tells why.
  }
  return queries[0]?.text ?? "";
}

function ascending(numbers) {
  return [...numbers].sort((one, other) => one - other);
}

/** Presets of one point share a button. */
function withoutTwins(presets) {
  const named = new Map();
  for (const preset of presets) {
    const twin = named.get(preset.point);
    named.set(preset.point, twin ? { ...twin, name: `${twin.name}, ${preset.name}` } : preset);
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
