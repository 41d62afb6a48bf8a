// Send requests to the server of this page, and to no other server.
// An error has one line of text. If a key is missing, the user is asked for it. If the queue of the
// server is full, the request is retried once.

const KEY = "nestvec-key";
const LONGEST_WAIT_S = 10;

/** An error with one line of text and the status (0 if the server did not respond). */
export class ApiError extends Error {
  constructor(message, status, code = null) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

let askForKey = async () => null;

/** Set the function that asks the user for the key; it resolves to the key or null. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/** GET a path under the page, such as "v1/models". */
export function get(path, signal) {
  return call(path, { method: "GET", signal });
}

/** POST a JSON body. */
export function post(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  return call(path, { method: "POST", headers, body: JSON.stringify(body), signal });
}

/** The full URL of a path under the page. */
export function address(path) {
  return new URL(path, document.baseURI.replace(/#.*$/, "")).href;
}

/** Whether a key is stored. */
export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

async function call(path, options) {
  let response = await send(path, options);
  for (let why = "This server requires an API key."; response.status === 401; ) {
    sessionStorage.removeItem(KEY);
    const key = await askForKey(why);
    if (key === null) break;
    sessionStorage.setItem(KEY, key);
    response = await send(path, options);
    why = "The server does not accept this key.";
  }
  if (response.status === 429) {
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    await pause(Math.min(seconds, LONGEST_WAIT_S) * 1000, options.signal);
    response = await send(path, options);
  }
  if (!response.ok) throw await errorOf(response);
  return response.json();
}

async function send(path, options) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  try {
    return await fetch(address(path), { ...options, headers, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not respond. Is nestvec serve still running?", 0);
  }
}

async function errorOf(response) {
  if (response.status === 429) {
    return new ApiError("The server is busy. Try again in a moment.", 429);
  }
  const { error } = await response.json().catch(() => ({}));
  const message = error?.message ?? `The server returned status ${response.status}.`;
  return new ApiError(message, response.status, error?.code ?? null);
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/**
 * Runs one task at a time; only the newest waiting task is run next.
 *
 * While a slider is dragged, the page shows each answer as it arrives, and at the end the newest.
 * `urgent` aborts the running task, for example when the query has changed.
 */
export class Latest {
  #running = null;
  #waiting = null;

  run(task, { urgent = false } = {}) {
    this.#waiting = task;
    if (urgent) this.#running?.abort();
    if (this.#running === null) this.#next();
  }

  async #next() {
    while (this.#waiting !== null) {
      const task = this.#waiting;
      this.#waiting = null;
      this.#running = new AbortController();
      const { signal } = this.#running;
      try {
        await task(signal);
      } catch (error) {
        if (!signal.aborted) throw error;
      } finally {
        this.#running = null;
      }
    }
  }
}
