// The documents that were seen: answers bring most of them, the few others are asked for.

import { get } from "./api.js";

const MOST = 5_000;

/** Documents by id; one that the server does not have is null. */
export class Documents {
  #known = new Map();

  get(id) {
    return this.#known.get(id) ?? null;
  }

  /** Keep what an answer brought. */
  keep(hits) {
    if (this.#known.size > MOST) this.#known.clear();
    for (const { id, title, text, metadata } of hits) this.#known.set(id, { title, text, metadata });
  }

  /** Ask for those that are not known. */
  async need(ids, signal) {
    const missing = [...new Set(ids)].filter((id) => !this.#known.has(id));
    await Promise.all(missing.map((id) => this.#ask(id, signal)));
  }

  async #ask(id, signal) {
    try {
      this.#known.set(id, await get(`v1/documents/${encodeURIComponent(id)}`, signal));
    } catch (error) {
      if (error.name === "AbortError") throw error;
      this.#known.set(id, null);
    }
  }
}
