// Search as one types and as controls move: one question at a time is under way, the newest waits.
// What full precision finds is asked once for each question, and compared with ever after.

import { Latest, post } from "./api.js";
import { showCost } from "./cost.js";
import { byId, html } from "./dom.js";
import { Documents } from "./documents.js";
import { showJourney } from "./journey.js";
import { Results } from "./results.js";
import { complain, relieve, say } from "./said.js";
import { Snippet } from "./snippet.js";
import { bytes, count, counted, milliseconds } from "./wording.js";

const TYPING_MS = 120;
const PAUSE_MS = 900; // what comes sooner after the last change belongs to the same one
const PYTHON = `for hit in found["hits"]:
    print(f"{hit['score']:.3f}  {hit['title'] or hit['text'][:70]}")`;

/** The view of results, with what it needs of the server. */
export class Search {
  #latest = new Latest();
  #exact = { key: null };
  #shown = []; // ids, as they stand on the page
  #before = null; // ids, as they stood before the change under way
  #changed = -Infinity;
  #timer = null;

  constructor(served) {
    this.served = served;
    this.documents = new Documents();
    this.results = new Results(byId("results"));
    this.snippet = new Snippet("search-snippet");
  }

  /** Take what was asked, and search once typing rests. */
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
    const { point, ...question } = body;
    const key = JSON.stringify(question);
    const isNew = this.#exact.key !== key;
    try {
      const answer = await post("v1/search", { ...body, explain: isNew || "stages" }, signal);
      this.documents.keep(answer.hits);
      if (isNew) this.#exact = { key, ...answer.explain.exact };
      await this.documents.need([...this.#exact.ids, ...this.#relevant(values.q)], signal);
      this.#take(values, body, answer, isNew);
    } catch (error) {
      if (signal.aborted) throw error;
      complain(error);
    }
  }

  #take(values, body, answer, isNew) {
    const now = performance.now();
    if (isNew) this.#newQuestion(answer.hits);
    else if (now - this.#changed > PAUSE_MS) this.#before = this.#shown;
    this.#changed = now;
    this.#shown = answer.hits.map(({ id }) => id);
    this.answer = answer;
    relieve();
    this.#draw();
    const { explain, ...plain } = answer;
    this.snippet.show({ path: "v1/search", body, python: PYTHON }, plain);
  }

  #newQuestion([first]) {
    this.#before = null;
    const [field] = Object.entries(first?.metadata ?? {});
    const example = ([name, value]) => (typeof value === "number" ? `${name} >= ${value}` : `${name} = '${value}'`);
    byId("where").placeholder = field ? example(field) : "";
  }

  #relevant(query) {
    return this.served.queries.find(({ text }) => text === query.trim())?.relevant ?? [];
  }

  #draw() {
    if (!this.answer) return;
    const entries = this.#entries();
    const isExact = this.values.against === "exact";
    const against = isExact ? "full precision" : "the last setting";
    this.results.show(entries, { against });
    const exact = { ms: this.#exact.ms, bytes: this.#exact.bytes };
    showCost(byId("cost"), this.answer, exact);
    this.#drawJourney(entries);
    this.#summarize(entries, against);
  }

  /** The results, with what full precision has beside them at the places where it has it. */
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
      was: reference === null ? undefined : placeIn(reference, id),
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

  #drawJourney(entries) {
    const { explain, stages } = this.answer;
    const columns = explain.stages.map(({ ids }, at) => ({
      ids,
      name: stages[at].stage,
      note: at === stages.length - 1 ? `the ${count(ids.length)} shown` : `hands on ${count(ids.length)}`,
    }));
    columns.push({ ids: this.#exact.ids, name: "exact", note: "full precision" });
    const drawn = entries.map((entry) => ({ ...entry, kind: entry.lost === null ? "hit" : "lost" }));
    for (const id of this.#relevant(this.values.q)) {
      if (!drawn.some((each) => each.id === id)) {
        drawn.push({ id, document: this.documents.get(id), kind: "missing", relevant: true });
      }
    }
    showJourney(byId("journey"), { columns, drawn, k: this.values.k, exact: true });
  }

  #summarize(entries, against) {
    const { timing, stages, point } = this.answer;
    const found = entries.filter(({ lost }) => lost === null);
    const lost = entries.length - found.length;
    const kept = this.#exact.ids.length - lost;
    const rose = found.filter(({ was, rank }) => was > rank).length;
    const fell = found.filter(({ was, rank }) => was !== null && was < rank).length;
    const size = stages.reduce((sum, stage) => sum + stage.bytes, 0);
    const share = `${count(kept)} of ${count(this.#exact.ids.length)} kept`;
    const text =
      `${count(lost)} lost; ${count(rose)} rose, ${count(fell)} fell against ${against}. ` +
      `${milliseconds(timing.search_ms)} and ${bytes(size)} (full precision: ` +
      `${milliseconds(this.#exact.ms)}, ${bytes(this.#exact.bytes)}).`;
    byId("summary").replaceChildren(squares(this.#exact.ids, this.#shown), html("strong", {}, share), `, ${text}`);
    say(`${counted(found.length, "result")} at ${point}. ${share}, ${text}`);
  }

  #clear() {
    this.answer = null;
    this.results.show([], { against: "" });
    for (const id of ["summary", "cost", "journey"]) byId(id).replaceChildren();
    relieve();
  }
}

function requestOf({ q, k, where, point }) {
  const body = { query: q.trim(), k, point };
  if (where.trim()) body.where = where.trim();
  return body;
}

/** A square for each document of full precision, in its order: filled where it was kept. */
function squares(exact, shown) {
  const kept = exact.map((id) => html("i", { class: shown.includes(id) ? null : "gone" }));
  return html("span", { class: "kept", "aria-hidden": "true" }, ...kept);
}

function placeIn(ids, id) {
  const at = ids.indexOf(id);
  return at < 0 ? null : at + 1;
}

function whyLost(id, rank, stages) {
  const has = `Full precision has it at ${rank}; `;
  const shortlists = stages.slice(0, -1);
  const missing = shortlists.findIndex(({ ids }) => !ids.includes(id));
  if (!shortlists.length) return `${has}this scan does not have it among the first.`;
  if (missing >= 0) {
    return `${has}not in the shortlist of ${count(shortlists[missing].ids.length)} after stage ${missing + 1}.`;
  }
  const places = shortlists.map(({ ids }, at) => `${placeIn(ids, id)} after stage ${at + 1}`);
  return `${has}in the shortlist at ${places.join(", ")}, then the last stage put it lower.`;
}
