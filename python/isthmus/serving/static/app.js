// The page: what was rated, what follows from it, and why. Text from the server becomes text nodes only.
import { ItemMap } from "./map.js";

const STEP = 12; // items that a list grows by
const SLOW = 1500; // milliseconds for a reason
const at = (id) => document.getElementById(id);

const state = {
  model: null,
  history: new Map(), // item -> {item, title, detail, rating}
  hidden: new Map(), // item -> {item, title, detail}
  results: [],
  listed: [],
  picked: null,
  user: null, // of the training data, whose list is shown instead of one's own
  n: STEP,
};

// The server

let token = takeToken();
const running = {}; // requests under way, by what they are for

function takeToken() {
  // from the address at the first load, where it does not stay
  const here = new URL(location.href);
  const given = here.searchParams.get("token");
  if (given !== null) {
    here.searchParams.delete("token");
    history.replaceState(null, "", here);
    sessionStorage.setItem("isthmus-token", given);
  }
  return sessionStorage.getItem("isthmus-token");
}

// Ask the server; a later question for the same purpose ends an earlier one.
async function ask(purpose, path, body) {
  running[purpose]?.abort();
  const control = (running[purpose] = new AbortController());
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, {
    method: body ? "POST" : "GET",
    headers,
    body: body && JSON.stringify(body),
    signal: control.signal,
  });
  const answer = await response.json();
  if (response.status === 401) askForToken();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

const query = (path, fields) => `${path}?${new URLSearchParams(Object.entries(fields).flatMap(
  ([name, value]) => [value].flat().map((one) => [name, one])))}`;

function askForToken() {
  at("token-title").textContent = token ? "That is not this server's token" : "This server needs its token";
  if (!at("ask-token").open) at("ask-token").showModal();
}

// Run what asks the server; say what went wrong, but not that a question was dropped.
async function attempt(work) {
  try {
    const found = await work();
    at("error").hidden = true;
    return found;
  } catch (error) {
    if (error.name !== "AbortError" && !at("ask-token").open) {
      at("error").textContent = error instanceof TypeError ? "The server cannot be reached." : error.message;
      at("error").hidden = false;
    }
    return null;
  }
}

// Elements

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "role" || name.startsWith("aria-") || name.startsWith("data-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

function button(text, label, role, action) {
  return make("button", { type: "button", className: "quiet", "aria-label": label, "data-role": role, onclick: action }, text);
}

// Show rows instead of others, and keep the focus at the same item or, if it is gone, at the same place.
function show(list, rows, otherwise) {
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const role = focused?.closest("[data-role]")?.dataset.role;
  const row = focused?.closest("li[data-item]");
  const place = row ? [...list.children].indexOf(row) : 0;
  list.replaceChildren(...rows);
  if (!focused) return;
  const next = rows.find((one) => one.dataset.item === row?.dataset.item) ?? rows[Math.min(place, rows.length - 1)];
  const control = next?.querySelector(`[data-role="${role}"]`);
  (control?.querySelector('[tabindex="0"]') ?? control ?? otherwise).focus();
}

function row(item, ...parts) {
  const name = make("button", { type: "button", className: "title", dir: "auto", "data-role": "title", onclick: () => pick(item) }, item.title);
  const text = make("div", { className: "text" }, name);
  if (item.detail) text.append(make("span", { className: "detail", dir: "auto" }, item.detail));
  return make("li", { "data-item": String(item.item) }, text, ...parts);
}

// Stars: arrow keys move among them, Enter, Space or a click choose, and so do digits.
function rater(item) {
  if (!state.model.rates) return liker(item);
  const levels = state.model.levels;
  const chosen = state.history.get(item.item)?.rating;
  const group = make("div", { className: "stars", role: "radiogroup", "aria-label": `Your rating of ${item.title}`, "data-role": "rate" });
  const stop = Math.max(0, levels.indexOf(chosen));
  const stars = levels.map((level, place) =>
    make("button", {
      type: "button",
      role: "radio",
      "aria-checked": level === chosen,
      "aria-label": `${level} of ${levels.at(-1)}`,
      className: level <= chosen ? "on" : "", // never of what is not rated
      tabIndex: place === stop ? 0 : -1,
      onclick: () => rate(item, level),
    }, level <= chosen ? "★" : "☆"));
  group.append(...stars);
  group.onkeydown = (event) => {
    const place = stars.indexOf(event.target);
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (step) {
      const next = stars[Math.min(Math.max(place + step, 0), stars.length - 1)];
      stars.forEach((star) => (star.tabIndex = star === next ? 0 : -1));
      next.focus();
    } else if (event.key >= "1" && event.key <= String(Math.min(9, levels.length))) {
      rate(item, levels[Number(event.key) - 1]);
    } else return;
    event.preventDefault();
  };
  return group;
}

function liker(item) {
  const liked = state.history.has(item.item);
  const control = button(liked ? "♥ Liked" : "♡ Like", `Like ${item.title}`, "rate", () => (liked ? unrate(item) : rate(item, 1)));
  control.setAttribute("aria-pressed", liked);
  return control;
}

// What was rated and hidden

function rate(item, rating) {
  state.history.set(item.item, { ...item, rating });
  changed();
}

function unrate(item) {
  state.history.delete(item.item);
  changed();
}

function hide(item) {
  state.hidden.set(item.item, item);
  changed();
}

function unhide(item) {
  state.hidden.delete(item.item);
  changed();
}

function changed() {
  state.user = null;
  showResults();
  showHistory();
  showHidden();
  if (state.picked) showItem();
  recommend();
}

const told = () =>
  [...state.history.values()].map(({ item, rating }) => (state.model.rates ? { item, rating } : { item }));

function showHistory() {
  const count = state.history.size;
  at("history-title").textContent = `${state.model.rates ? "Your ratings" : "What you like"}${count ? ` (${count})` : ""}`;
  at("no-history").hidden = count > 0;
  at("restart").hidden = count + state.hidden.size === 0;
  const rows = [...state.history.values()].reverse().map((item) =>
    row(item, make("div", { className: "actions" }, rater(item), button("Remove", `Remove ${item.title}`, "remove", () => unrate(item)))));
  show(at("history"), rows, at("history-title"));
}

function showHidden() {
  at("hidden-part").hidden = state.hidden.size === 0;
  at("hidden-title").textContent = `Hidden (${state.hidden.size})`;
  const rows = [...state.hidden.values()].map((item) =>
    row(item, make("div", { className: "actions" }, button("Show again", `Show ${item.title} again`, "unhide", () => unhide(item)))));
  show(at("hidden"), rows, at("list-title"));
}

// Search

async function search() {
  const words = at("query").value.trim();
  const answer = await attempt(() => ask("search", query("api/items", { query: words, n: words ? 8 : 5 })));
  if (!answer) return;
  state.results = answer.items;
  at("found").textContent = !words ? "Known to many:" : answer.items.length ? "" : "No title has these words.";
  showResults();
}

function showResults() {
  const rows = state.results.map((item) => row(item, make("div", { className: "actions" }, rater(item))));
  show(at("results"), rows, at("query"));
}

// The list, and why

async function recommend() {
  running.reasons?.abort();
  const { user } = state;
  const choice = { n: state.n, exclude: [...state.hidden.keys()], order: at("order").value };
  const answer = await attempt(() => user === null
    ? ask("list", "api/recommend", { history: told(), ...choice })
    : ask("list", query("api/recommend", { user, ...choice })));
  if (!answer) return;
  const differ = new Set(answer.items.map(({ score }) => score)).size > 1 || answer.items.length < 2;
  const known = differ ? answer : await attempt(bestKnown);
  if (!known) return;
  state.listed = known.items;
  showList();
  showReasons();
}

// What many have had, for somebody of whom a model such as EASE says nothing.
async function bestKnown() {
  const { items } = await ask("list", query("api/items", { n: Math.min(state.n + state.hidden.size, 1000) }));
  return { items: items.filter(({ item }) => !state.hidden.has(item)).slice(0, state.n) };
}

// Models of ratings do not keep how a user rated, and so cannot say why.
const hasReasons = () => (state.user === null ? state.history.size > 0 : state.model.explains_users);

function askWhy(purpose, item, n) {
  return state.user === null
    ? ask(purpose, "api/explain", { history: told(), item, n })
    : ask(purpose, query("api/explain", { user: state.user, item, n }));
}

function whence() {
  const { history, listed, model, user } = state;
  if (!listed.length) return "Nothing is left to recommend.";
  if (user !== null) return `${listed.length} from what user ${user} had in training.`;
  if (!history.size) return "For somebody of whom nothing is known.";
  const kind = model.rates ? "rating" : "like";
  return `${listed.length} from your ${history.size} ${kind}${history.size > 1 ? "s" : ""}; first ${listed[0].title}.`;
}

function showList() {
  const { listed, model, user } = state;
  at("list-title").textContent = user === null ? "For you" : `For user ${user}`;
  at("own").hidden = user === null;
  at("more").hidden = listed.length < state.n;
  at("status").textContent = whence();
  const rows = listed.map((item) => {
    const score = model.rates ? [make("span", { className: "score", title: "Predicted rating" }, item.score?.toFixed(1) ?? "")] : [];
    const reason = make("p", { className: "reason" });
    const why = hasReasons()
      ? [button("Why?", `Why ${item.title}?`, "why", (event) => explain(item, event.currentTarget))] : [];
    const actions = make("div", { className: "actions" }, rater(item), ...why, button("Hide", `Hide ${item.title}`, "hide", () => hide(item)));
    return row(item, ...score, reason, actions);
  });
  show(at("recommended"), rows, at("list-title"));
  mark();
}

// Say of each item which rating speaks for it most, one after another so that the server is free for others.
async function showReasons() {
  if (!hasReasons()) return;
  const rows = [...at("recommended").children];
  let slow = false; // as an RBM is: who wants to know asks by "Why?"
  for (const [place, item] of state.listed.entries()) {
    if (slow) return;
    try {
      const start = performance.now();
      const { effects } = await askWhy("reasons", item.item, 5);
      slow = performance.now() - start > SLOW;
      if (!rows[place].isConnected) return;
      const first = effects.find(({ effect }) => effect > 0);
      rows[place].querySelector(".reason").append(...(first ? because(first) : ["Nothing speaks for it alone."]));
    } catch {
      return; // a new list is on its way, or an error is shown already
    }
  }
}

function because({ title, rating }) {
  const name = make("cite", { dir: "auto" }, title);
  if (state.user !== null) return ["because of ", name];
  return state.model.rates ? ["because you rated ", name, ` ${rating}`] : ["because you like ", name];
}

async function explain(item, control) {
  const place = control.closest("li");
  const open = place.querySelector(".why");
  control.setAttribute("aria-expanded", !open);
  if (open) {
    open.remove();
    return;
  }
  const found = await attempt(() => askWhy(`why ${item.item}`, item.item, 6));
  if (!found || !place.isConnected) return;
  const largest = Math.max(...found.effects.map(({ effect }) => Math.abs(effect)), 1e-9);
  const digits = state.model.rates ? 2 : 3;
  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
  const lines = found.effects.map((one) => {
    const bar = make("span", { className: one.effect < 0 ? "bar less" : "bar" });
    bar.style.inlineSize = `${(100 * Math.abs(one.effect)) / largest}%`;
    const name = make("span", { dir: "auto" }, one.title);
    return make("li", {}, name, make("span", { className: "given" }, state.model.rates ? `you: ${one.rating}` : ""),
      make("span", { className: "effect" }, signed(one.effect)), make("span", { className: "track" }, bar));
  });
  const score = `${state.model.rates ? "Predicted rating" : "Score"} ${found.score.toFixed(digits)}.`;
  const whole = `${score} It would fall (+) or rise (−) by so much without each of these:`;
  place.append(make("div", { className: "why", role: "status" }, make("p", {}, whole), make("ul", {}, ...lines)));
}

// One item

async function pick(item) {
  if (!at("item").contains(document.activeElement)) opener = document.activeElement;
  state.picked = item;
  at("item").hidden = false;
  at("similar").replaceChildren();
  showItem();
  mark();
  map.showItem(item.item);
  at("item-title").focus({ preventScroll: true });
  at("item").scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  const answer = await attempt(() => ask("similar", query("api/similar", { item: item.item, n: 6 })));
  if (!answer || state.picked !== item) return;
  at("similar").replaceChildren(...answer.items.map((one) => row(one)));
}

let opener = null; // what had the focus before an item was picked

function close() {
  state.picked = null;
  at("item").hidden = true;
  mark();
  (opener?.isConnected ? opener : at("list-title")).focus();
}

function showItem() {
  const item = state.picked;
  at("item-title").textContent = item.title;
  at("item-detail").textContent = item.detail;
  const isHidden = state.hidden.has(item.item);
  const hider = isHidden
    ? button("Show again", `Show ${item.title} again`, "hide", () => unhide(item))
    : button("Hide", `Hide ${item.title}`, "hide", () => hide(item));
  const own = make("li", { "data-item": String(item.item) }, rater(item), hider);
  show(at("item-actions"), [own], at("item-title"));
}

// The map

const map = new ItemMap(at("map"), {
  onPick: pick,
  onCentre: (item) => (at("at-centre").textContent = item ? `At the centre: ${item.title}` : ""),
});

function mark() {
  map.mark({
    rated: new Set(state.history.keys()),
    listed: new Set(state.listed.map(({ item }) => item)),
    picked: state.picked?.item,
  });
}

// The start

function later(work, milliseconds) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, milliseconds);
  };
}

async function start() {
  const model = await attempt(() => ask("model", "api/model"));
  if (!model) return;
  state.model = model;
  at("about").textContent = `${model.model} · ${model.users.toLocaleString("en")} users × ${model.items.toLocaleString("en")} items`;
  at("choose-title").textContent = model.rates ? "Rate a few" : "Like a few";
  at("no-history").textContent = model.rates
    ? "None yet. Give some stars, and the list changes at once." : "Nothing yet. Like some, and the list changes at once.";
  at("order-part").hidden = !model.rates;
  showHistory();
  search();
  recommend();
  const answer = await attempt(() => ask("map", "api/map"));
  if (answer) map.setItems(answer.items);
}

at("query").oninput = later(search, 120);
at("order").onchange = recommend;
at("user-form").onsubmit = (event) => {
  event.preventDefault();
  state.user = at("user").value.trim() || null;
  recommend();
};
at("own").onclick = () => {
  state.user = null;
  at("list-title").focus();
  recommend();
};
at("more").onclick = () => {
  state.n += STEP;
  recommend();
};
at("restart").onclick = () => {
  state.history.clear();
  state.hidden.clear();
  state.n = STEP;
  changed();
  at("query").focus();
};
at("close").onclick = close;
at("item").onkeydown = (event) => {
  if (event.key === "Escape") close();
};
at("zoom-in").onclick = () => map.zoom(1.5);
at("zoom-out").onclick = () => map.zoom(1 / 1.5);
at("zoom-all").onclick = () => map.reset();
at("token-form").onsubmit = () => {
  token = at("token").value;
  sessionStorage.setItem("isthmus-token", token);
  start();
};
start();
