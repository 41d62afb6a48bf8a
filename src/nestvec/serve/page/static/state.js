// The state of the page, stored in the hash of the URL, so that links and reloads restore it.

const DEFAULTS = { view: "search", q: "", point: "", k: 10, where: "", against: "exact" };
const VIEWS = ["search", "compare", "embed"];
const DELAY_MS = 200; // browsers limit how often the address may change

/** The values and their listeners. */
export class State {
  #values;
  #listeners = [];
  #timer = null;

  constructor() {
    this.#values = fromHash(location.hash);
    addEventListener("popstate", () => {
      clearTimeout(this.#timer);
      this.#apply(fromHash(location.hash));
    });
  }

  get values() {
    return this.#values;
  }

  /** Call a listener with (values, names of the changed values) after each change. */
  listen(listener) {
    this.#listeners.push(listener);
  }

  /** Change some values. Only a change of the view adds an entry to the history of the browser. */
  set(changes) {
    const values = { ...this.#values, ...changes };
    clearTimeout(this.#timer);
    if (values.view !== this.#values.view) history.pushState(null, "", toHash(values));
    else this.#timer = setTimeout(() => history.replaceState(null, "", toHash(values)), DELAY_MS);
    this.#apply(values);
  }

  #apply(values) {
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
  const changed = Object.entries(values).filter(([name, value]) => value !== DEFAULTS[name]);
  return `#${new URLSearchParams(changed.map(([name, value]) => [name, String(value)]))}`;
}
