// A cache of documents: most come with search results, the others are requested by id.

import { get } from "./api.js";

const MOST = 5_000;

/** Documents by id; null for documents that the server does not have. */
export class Documents {
  #known = new Map();

  get(id) {
    return this.#known.get(id) ?? null;
  }

  /** Add the documents of search results. */
  add(hits) {
    if (this.#known.size > MOST) this.#known.clear();
    for (const { id, title, text, metadata } of hits) this.#known.set(id, { title, text, metadata });
  }

  /** Request documents that are not in the cache. */
  async load(ids, signal) {
    const missing = [...new Set(ids)].filter((id) => !this.#known.has(id));
    await Promise.all(missing.map((id) => this.#request(id, signal)));
  }

  async #request(id, signal) {
    try {
      this.#known.set(id, await get(`v1/documents/${encodeURIComponent(id)}`, signal));
    } catch (error) {
      if (error.name === "AbortError") throw error;
      this.#known.set(id, null);
    }
  }
}
