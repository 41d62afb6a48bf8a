// What the page shows, as plain values, kept in the URL's hash: a link or a reload brings it back.

const DEFAULTS = { view: "search", q: "", point: "", k: 10, where: "", against: "exact" };
const VIEWS = ["search", "compare", "embed"];
const REST_MS = 200; // browsers refuse an address that changes all the time

/** The values, and those who want to hear of changes. */
export class State {
  #values;
  #listeners = [];
  #timer = null;

  constructor() {
    this.#values = fromHash(location.hash);
    addEventListener("popstate", () => {
      clearTimeout(this.#timer);
      this.#take(fromHash(location.hash));
    });
  }

  get values() {
    return this.#values;
  }

  /** Call back with (values, names of what changed) from now on. */
  listen(listener) {
    this.#listeners.push(listener);
  }

  /** Change some values; a new view is a step in the browser's history, the rest is not. */
  set(changes) {
    const values = { ...this.#values, ...changes };
    clearTimeout(this.#timer);
    if (values.view !== this.#values.view) history.pushState(null, "", toHash(values));
    else this.#timer = setTimeout(() => history.replaceState(null, "", toHash(values)), REST_MS);
    this.#take(values);
  }

  #take(values) {
    const before = this.#values;
    const changed = new Set(Object.keys(values).filter((name) => values[name] !== before[name]));
    this.#values = values;
    if (changed.size) this.#listeners.forEach((listener) => listener(values, changed));
  }
}

function fromHash(hash) {
  const given = Object.fromEntries(new URLSearchParams(hash.replace(/^#/, "")));
  const values = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) if (name in given) values[name] = given[name];
  values.k = Math.min(Math.max(Math.round(Number(values.k)) || DEFAULTS.k, 1), 100);
  if (!VIEWS.includes(values.view)) values.view = DEFAULTS.view;
  return values;
}

function toHash(values) {
  const told = Object.entries(values).filter(([name, value]) => value !== DEFAULTS[name]);
  return `#${new URLSearchParams(told.map(([name, value]) => [name, String(value)]))}`;
}
