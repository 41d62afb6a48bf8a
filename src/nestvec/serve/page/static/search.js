// Search while the user types and moves controls: one request runs at a time, the newest waits.
// The results of full precision are requested once for each query and reused for comparison.

import { Latest, post } from "./api.js";
import { showCost } from "./cost.js";
import { byId, html } from "./dom.js";
import { Documents } from "./documents.js";
import { announce, hideError, showError } from "./messages.js";
import { Results } from "./results.js";
import { Snippet } from "./snippet.js";
import { showStageRanks } from "./stage_ranks.js";
import { bytes, count, counted, milliseconds } from "./wording.js";

const TYPING_MS = 120;
const PAUSE_MS = 900; // changes with shorter pauses count as one change
const PYTHON = `for hit in result["hits"]:
    print(f"{hit['score']:.3f}  {hit['title'] or hit['text'][:70]}")`;

/** The view of the search results. */
export class Search {
  #latest = new Latest();
  #exact = { key: null };
  #shown = []; // ids in the displayed order
  #before = null; // ids in the order before the current change
  #changed = -Infinity;
  #timer = null;

  constructor(served) {
    this.served = served;
    this.documents = new Documents();
    this.results = new Results(byId("results"));
    this.snippet = new Snippet("search-snippet");
  }

  /** Store new values, and search; after typing, with a short delay. */
  update(values, changed) {
    this.values = values;
    if (changed.has("against") && changed.size === 1) return this.#draw();
    const typed = changed.has("q") || changed.has("where");
    clearTimeout(this.#timer);
    if (typed) this.#timer = setTimeout(() => this.#run(values, true), TYPING_MS);
    else this.#run(values, false);
    return undefined;
  }

  #run(values, urgent) {
    if (!values.q.trim()) return this.#clear();
    this.#latest.run((signal) => this.#search(values, signal), { urgent });
    return undefined;
  }

  async #search(values, signal) {
    const body = requestOf(values);
    const { point, ...query } = body;
    const key = JSON.stringify(query);
    const isNew = this.#exact.key !== key;
    try {
      const answer = await post("v1/search", { ...body, explain: isNew || "stages" }, signal);
      this.documents.add(answer.hits);
      if (isNew) this.#exact = { key, ...answer.explain.exact };
      await this.documents.load([...this.#exact.ids, ...this.#relevant(values.q)], signal);
      this.#show(body, answer, isNew);
    } catch (error) {
      if (signal.aborted) throw error;
      showError(error);
    }
  }

  #show(body, answer, isNew) {
    const now = performance.now();
    if (isNew) this.#newQuery(answer.hits);
    else if (now - this.#changed > PAUSE_MS) this.#before = this.#shown;
    this.#changed = now;
    this.#shown = answer.hits.map(({ id }) => id);
    this.answer = answer;
    hideError();
    this.#draw();
    const { explain, ...plain } = answer;
    this.snippet.show({ path: "v1/search", body, python: PYTHON }, plain);
  }

  #newQuery([first]) {
    this.#before = null;
    const [field] = Object.entries(first?.metadata ?? {});
    byId("where").placeholder = field ? exampleFilter(...field) : "";
  }

  #relevant(query) {
    return this.served.queries.find(({ text }) => text === query.trim())?.relevant ?? [];
  }

  #draw() {
    if (!this.answer) return;
    const entries = this.#entries();
    const isExact = this.values.against === "exact";
    const against = isExact ? "full precision" : "the previous setting";
    this.results.show(entries, { against });
    const exact = { ms: this.#exact.ms, bytes: this.#exact.bytes };
    showCost(byId("cost"), this.answer, exact);
    this.#drawStageRanks(entries);
    this.#summarize(entries, against);
  }

  /** The results, with the lost results of full precision at their ranks. */
  #entries() {
    const { hits, explain } = this.answer;
    const exact = this.#exact.ids;
    const reference = this.values.against === "exact" ? exact : this.#before;
    const relevant = new Set(this.#relevant(this.values.q));
    const entry = (id, rank, score, lost) => ({
      id,
      rank,
      score,
      lost,
      was: reference === null ? undefined : rankIn(reference, id),
      document: this.documents.get(id),
      relevant: relevant.has(id),
    });
    const found = hits.map(({ id, score }, at) => entry(id, at + 1, score, null));
    const has = new Set(hits.map(({ id }) => id));
    const lost = exact
      .map((id, at) => entry(id, at + 1, null, whyLost(id, at + 1, explain.stages)))
      .filter(({ id }) => !has.has(id));
    const order = ({ rank, lost: reason }) => rank + (reason === null ? 0 : 0.5);
    return [...found, ...lost].sort((one, other) => order(one) - order(other));
  }

  #drawStageRanks(entries) {
    const { explain, stages } = this.answer;
    const columns = explain.stages.map(({ ids }, at) => ({
      ids,
      name: stages[at].stage,
      note: at === stages.length - 1 ? `${count(ids.length)} results` : `returns ${count(ids.length)}`,
    }));
    columns.push({ ids: this.#exact.ids, name: "exact", note: "full precision" });
    const drawn = entries.map((entry) => ({ ...entry, kind: entry.lost === null ? "hit" : "lost" }));
    for (const id of this.#relevant(this.values.q)) {
      if (!drawn.some((each) => each.id === id)) {
        drawn.push({ id, document: this.documents.get(id), kind: "missing", relevant: true });
      }
    }
    showStageRanks(byId("stage-ranks"), { columns, drawn, k: this.values.k, exact: true });
  }

  #summarize(entries, against) {
    const { timing, stages, point } = this.answer;
    const found = entries.filter(({ lost }) => lost === null);
    const lost = entries.length - found.length;
    const retained = this.#exact.ids.length - lost;
    const up = found.filter(({ was, rank }) => was > rank).length;
    const down = found.filter(({ was, rank }) => was !== null && was < rank).length;
    const size = stages.reduce((sum, stage) => sum + stage.bytes, 0);
    const share = `${count(retained)} of ${count(this.#exact.ids.length)} retained`;
    const text =
      `${count(lost)} lost; ${count(up)} up, ${count(down)} down compared with ${against}. ` +
      `${milliseconds(timing.search_ms)} and ${bytes(size)} (full precision: ` +
      `${milliseconds(this.#exact.ms)}, ${bytes(this.#exact.bytes)}).`;
    byId("summary").replaceChildren(squares(this.#exact.ids, this.#shown), html("strong", {}, share), `, ${text}`);
    announce(`${counted(found.length, "result")} at ${point}. ${share}, ${text}`);
  }

  #clear() {
    this.answer = null;
    this.results.show([], { against: "" });
    for (const id of ["summary", "cost", "stage-ranks"]) byId(id).replaceChildren();
    hideError();
  }
}

function requestOf({ q, k, where, point }) {
  const body = { query: q.trim(), k, point };
  if (where.trim()) body.where = where.trim();
  return body;
}

/** A square for each result of full precision, in order; filled if it was retained. */
/** A filter that matches documents with this value, as an example. */
function exampleFilter(name, value) {
  const text = (item) => (typeof item === "string" ? `'${item.replaceAll("\\", "\\\\").replaceAll("'", "''")}'` : item);
  if (Array.isArray(value)) return value.length ? `${name} has ${text(value[0])}` : `${name} exists`;
  return `${name} ${typeof value === "number" ? ">=" : "="} ${text(value)}`;
}

function squares(exact, shown) {
  const each = exact.map((id) => html("i", { class: shown.includes(id) ? null : "gone" }));
  return html("span", { class: "retained", "aria-hidden": "true" }, ...each);
}

function rankIn(ids, id) {
  const at = ids.indexOf(id);
  return at < 0 ? null : at + 1;
}

function whyLost(id, rank, stages) {
  const before = `Rank ${rank} at full precision; `;
  const shortlists = stages.slice(0, -1);
  const missing = shortlists.findIndex(({ ids }) => !ids.includes(id));
  if (!shortlists.length) return `${before}not in the results of this scan.`;
  if (missing >= 0) {
    return `${before}not in the shortlist of ${count(shortlists[missing].ids.length)} after stage ${missing + 1}.`;
  }
  const ranks = shortlists.map(({ ids }, at) => `${rankIn(ids, id)} after stage ${at + 1}`);
  return `${before}rank ${ranks.join(", ")}, and too low after the last stage.`;
}
