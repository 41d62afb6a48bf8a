// The request of a view as code: curl, Python, the JSON request and the JSON response.

import { address, hasKey } from "./api.js";
import { byId, html } from "./dom.js";
import { tabs } from "./tabs.js";

const KINDS = ["curl", "Python", "JSON request", "JSON response"];

/** The box with code at the end of a view. */
export class Snippet {
  #shown = KINDS[0];
  #request = null;
  #answer = null;

  constructor(id) {
    const box = `${id}-code`;
    this.code = html("code", {});
    this.copied = html("span", { class: "quiet", role: "status" });
    const { node, pick } = tabs(KINDS, {
      label: "API request",
      controls: box,
      onPick: (name) => {
        this.#shown = name;
        this.#write();
      },
    });
    const copy = html("button", { type: "button", class: "chip", onclick: () => this.#copy() }, "Copy");
    this.pre = html("pre", { id: box, role: "tabpanel", tabindex: 0, "aria-label": "Code" }, this.code);
    byId(id).replaceChildren(
      html("h2", {}, "API request"),
      html("div", { class: "snippet-head" }, node, html("span", {}, this.copied, " ", copy)),
      this.pre,
    );
    pick(KINDS[0]);
  }

  /** Show a request {path, body, python} and its answer. */
  show(request, answer) {
    this.#request = request;
    this.#answer = answer;
    this.#write();
  }

  #write() {
    this.copied.textContent = "";
    if (this.#request === null) return;
    const { path, body, python } = this.#request;
    const texts = {
      curl: () => curl(path, body),
      Python: () => asPython(path, body, python),
      "JSON request": () => JSON.stringify(body, null, 2),
      "JSON response": () => JSON.stringify(this.#answer, null, 2),
    };
    this.code.textContent = texts[this.#shown]();
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.code.textContent);
      this.copied.textContent = "Copied";
    } catch {
      // Scripts cannot use the clipboard without https, so the text is selected instead.
      getSelection().selectAllChildren(this.code);
      this.copied.textContent = "Selected. Press Ctrl+C.";
    }
  }
}

function curl(path, body) {
  const lines = [`curl ${quoted(address(path))}`, "-H 'Content-Type: application/json'"];
  if (hasKey()) lines.push('-H "Authorization: Bearer $NESTVEC_API_KEY"');
  lines.push(`-d ${quoted(JSON.stringify(body))}`);
  return lines.join(" \\\n  ");
}

/** Quote a text for a POSIX shell. */
export function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function asPython(path, body, ending) {
  const key = hasKey();
  const headers = ['"Content-Type": "application/json"'];
  if (key) headers.push('"Authorization": f"Bearer {os.environ[\'NESTVEC_API_KEY\']}"');
  return [
    `import json\n${key ? "import os\n" : ""}import urllib.request`,
    "",
    `body = ${literal(body)}`,
    `headers = {${headers.join(", ")}}`,
    `url = ${literal(address(path))}`,
    "request = urllib.request.Request(url, json.dumps(body).encode(), headers)",
    "with urllib.request.urlopen(request) as response:",
    "    result = json.load(response)",
    ending,
  ].join("\n");
}

/** Return a value as a Python literal; strings are the same as in JSON. */
export function literal(value, indent = "") {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const deeper = `${indent}    `;
  const parts = Array.isArray(value)
    ? value.map((each) => literal(each, deeper))
    : Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${literal(each, deeper)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const line = `${open}${parts.join(", ")}${close}`;
  if (line.length + indent.length <= 88) return line;
  return `${open}\n${parts.map((part) => `${deeper}${part},\n`).join("")}${indent}${close}`;
}
