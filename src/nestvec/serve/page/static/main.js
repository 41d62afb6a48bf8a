// Entry point: load what the server serves, then update the views when the state changes.

import { onKeyNeeded } from "./api.js";
import { Compare } from "./compare.js";
import { Controls } from "./controls.js";
import { CurveChart } from "./curve.js";
import { byId, html } from "./dom.js";
import { Embed } from "./embed.js";
import { askForKey } from "./key.js";
import { highlightDocuments } from "./highlight.js";
import { showError } from "./messages.js";
import { planPart } from "./plan.js";
import { Search } from "./search.js";
import { firstQuery, loadServed } from "./served.js";
import { State } from "./state.js";
import { count } from "./wording.js";

const VIEWS = ["search", "compare", "embed"];

async function start() {
  onKeyNeeded(askForKey);
  const state = new State();
  const served = await loadServed();
  // Without a query in the address, the page opens with an example.
  if (!state.values.q && served.hasIndex) state.set({ q: await firstQuery(served) });
  describe(served);
  highlightDocuments();
  const views = { compare: new Compare(), embed: new Embed(served) };
  if (served.hasIndex) searchView(served, state);
  else withoutIndex(state);
  const show = (values) => {
    showView(values.view);
    views[values.view]?.open();
  };
  state.listen(show);
  show(state.values);
  for (const link of document.querySelectorAll("nav [data-view]")) {
    follow(link, () => state.set({ view: link.dataset.view }));
  }
  follow(byId("skip"), () => byId("main-content").focus());
}

/** Give a link another action, because following it would replace the state in the hash. */
function follow(link, act) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    act();
  });
}

function withoutIndex(state) {
  byId("with-index").hidden = true;
  byId("no-index").hidden = false;
  if (!location.hash) state.set({ view: "compare" });
}

function describe(served) {
  const dims = `${count(served.fullDim)} dims`;
  const parts = [served.model, served.minDim ? `${dims} or any number from ${count(served.minDim)}` : dims];
  if (served.hasIndex) parts.push(`${count(served.nDocuments)} documents`);
  byId("served").textContent = parts.join(" · ");
  document.title = `${served.model} · nestvec`;
}

function showView(view) {
  for (const name of VIEWS) byId(name).hidden = name !== view;
  for (const link of document.querySelectorAll("nav [data-view]")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function searchView(served, state) {
  const search = new Search(served);
  const pick = (point) => state.set({ point });
  const controls = new Controls(served, pick);
  const chart = served.curve ? new CurveChart({ ...served, onPick: pick }) : null;
  byId("curve").append(chart ? chart.node : absent("No curve is served. Evaluate the model on these documents, and pass the file with --curve."));
  if (served.plan) byId("plan").append(planPart(served.plan, pick));
  fields(served, state);
  const show = (values, changed) => {
    if (values.view !== "search") return;
    byId("query").value = changed.has("q") && document.activeElement === byId("query") ? byId("query").value : values.q;
    byId("where").value = document.activeElement === byId("where") ? byId("where").value : values.where;
    showNumber(byId("k"), values.k);
    const point = values.point || served.point;
    controls.show(point);
    chart?.show(point);
    search.update({ ...values, point }, changed);
  };
  state.listen(show);
  show(state.values, new Set(["q"]));
}

/** Select a number in a list; add it if it came from the address and is not in the list. */
function showNumber(list, number) {
  if (![...list.options].some(({ value }) => Number(value) === number)) list.append(new Option(number));
  list.value = number;
}

function fields(served, state) {
  const bind = (id, name, kind) => byId(id).addEventListener(kind, (event) => state.set({ [name]: event.target.value }));
  bind("query", "q", "input");
  bind("where", "where", "input");
  byId("k").addEventListener("change", (event) => state.set({ k: Number(event.target.value) }));
  byId("search-form").addEventListener("submit", (event) => event.preventDefault());
  for (const radio of document.querySelectorAll("input[name=against]")) {
    radio.checked = radio.value === state.values.against;
    radio.addEventListener("change", () => state.set({ against: radio.value }));
  }
  const examples = served.queries.map(({ text }) =>
    html("button", { type: "button", class: "chip", title: text, onclick: () => state.set({ q: text }) }, text),
  );
  byId("examples").hidden = !examples.length;
  byId("examples").append(...examples);
}

function absent(text) {
  return html("p", { class: "quiet" }, text);
}

start().catch(showError);
