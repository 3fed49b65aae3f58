// Decides what is visible: the login form, or the feeds and one of six views.

import { get, setToken, takeToken, Unauthorised } from "./api.js";
import { byId } from "./dom.js";
import { Live } from "./live.js";
import * as views from "./views.js";

const REFRESH_MS = 2_000;
const TABS = [...document.querySelectorAll("[role=tab]")];
let live = null;
let shown = "live";

function choose(tab, focus = true) {
  for (const each of TABS) {
    const selected = each === tab;
    each.setAttribute("aria-selected", selected);
    each.tabIndex = selected ? 0 : -1;
    byId(each.getAttribute("aria-controls")).hidden = !selected;
  }
  shown = tab.getAttribute("aria-controls");
  if (focus) tab.focus();
  refresh();
}

function step(event) {
  const steps = { ArrowRight: 1, ArrowLeft: -1 };
  const at = TABS.indexOf(event.target);
  const next = event.key === "Home" ? 0 : event.key === "End" ? TABS.length - 1
    : event.key in steps ? (at + steps[event.key] + TABS.length) % TABS.length : -1;
  if (next < 0) return;
  event.preventDefault();
  choose(TABS[next]);
}

function showState(state, why = "") {
  if (state === "refused") return askForToken("The token is wrong.");
  byId("state").textContent = state === "live" ? "live" : `waiting: ${why}`;
}

function showError(error) {
  byId("banner").hidden = !error;
  byId("banner").textContent = error ? error.message : "";
}

function askForToken(text) {
  byId("main").hidden = true;
  byId("login").hidden = false;
  byId("login-error").textContent = text;
  byId("state").textContent = "waiting for the token";
  byId("token").focus();
}

let refreshing = false;

async function refresh() {
  if (refreshing || document.hidden || byId("main").hidden) return;
  refreshing = true;
  try {
    await views.feeds();
    if (shown === "live") await live.refresh();
    else await views[shown](byId(shown));
    showError(null);
  } catch (error) {
    if (error instanceof Unauthorised) askForToken("The token is no longer valid.");
    else showError(error);
  } finally {
    refreshing = false;
  }
}

async function start() {
  try {
    await get("/v1/feeds");
  } catch (error) {
    if (error instanceof Unauthorised) return askForToken("");
    showError(error);
    return setTimeout(start, REFRESH_MS);
  }
  byId("login").hidden = true;
  byId("main").hidden = false;
  live ??= new Live(showState);
  try {
    await live.start();
  } catch (error) {
    showError(error);
    return setTimeout(start, REFRESH_MS);
  }
  refresh();
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(byId("token").value.trim());
  byId("token").value = "";
  start();
});
byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
  document.dispatchEvent(new Event("themechange"));
});
TABS.forEach((tab) => {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", step);
});
document.addEventListener("visibilitychange", refresh);
takeToken();
choose(TABS[0], false);
setInterval(refresh, REFRESH_MS);
start();
