// Latest values, and the chart of one symbol.

import { get } from "./api.js";
import { Chart } from "./chart.js";
import { byId, clock, count, el } from "./dom.js";
import { Push } from "./push.js";

const MAX_SYMBOLS = 1000; // the limit of the server for one client

export class Live {
  #push = null;
  #rows = new Map();
  #feed = "";
  #symbols = [];
  #chart = new Chart();

  constructor(onState) {
    this.onState = onState;
    byId("feed").addEventListener("change", () => this.open(byId("feed").value));
    byId("filter").addEventListener("input", () => this.#show());
    byId("interval").addEventListener("change", () => this.#chart.reload());
  }

  async start() {
    const { feeds } = await get("/v1/feeds");
    byId("feed").replaceChildren(...feeds.map((feed) => el("option", { value: feed.name }, feed.name)));
    await this.open(feeds[0].name);
  }

  async open(feed) {
    this.#push?.close();
    this.#feed = feed;
    this.#rows.clear();
    this.#symbols = [];
    byId("values").replaceChildren();
    this.#push = new Push(feed, {
      onValues: (values) => values.forEach((value) => this.#update(value)),
      onState: this.onState,
    });
    await this.refresh();
    this.#choose(this.#symbols[0]);
  }

  /** Load symbols that had no value before. */
  async refresh() {
    const feed = this.#feed;
    const { symbols } = await get(`/v1/feeds/${feed}/symbols`);
    if (feed !== this.#feed || symbols.join() === this.#symbols.join()) return;
    this.#symbols = symbols;
    const message = byId("no-values");
    message.hidden = symbols.length > 0;
    message.textContent = `No record of ${feed} has been collected yet; the first one will appear here.`;
    this.#show();
  }

  #show() {
    const text = byId("filter").value.trim().toUpperCase();
    const shown = this.#symbols.filter((symbol) => symbol.includes(text)).slice(0, MAX_SYMBOLS);
    byId("values").replaceChildren(...shown.map((symbol) => this.#row(symbol).node));
    byId("count").textContent = `${shown.length} of ${this.#symbols.length} symbols`;
    this.#push.subscribe(shown);
  }

  #row(symbol) {
    let row = this.#rows.get(symbol);
    if (!row) {
      const cells = ["number", "number", "number optional", "number"].map((kind) => el("td", { class: kind }));
      const button = el("button", { type: "button", click: () => this.#choose(symbol) }, symbol);
      row = { node: el("tr", {}, el("td", { class: "whole" }, button), ...cells), cells, first: null };
      this.#rows.set(symbol, row);
    }
    return row;
  }

  #update(value) {
    const row = this.#row(value.symbol);
    row.first ??= value.price;
    const [price, change, volume, time] = row.cells;
    const moved = row.first ? (value.price / row.first - 1) * 100 : 0;
    const sign = moved > 0 ? "▲" : moved < 0 ? "▼" : "";
    price.textContent = count(value.price);
    change.textContent = `${sign} ${Math.abs(moved).toFixed(2)} %`;
    change.className = `number ${moved > 0 ? "good" : moved < 0 ? "bad" : "soft"}`;
    volume.textContent = value.volume === undefined ? "" : count(value.volume);
    time.textContent = clock(value.timestamp);
    if (value.symbol === this.#chart.symbol) this.#chart.trade(value.price, value.timestamp);
  }

  #choose(symbol) {
    if (!symbol) return;
    this.#rows.get(this.#chart.symbol)?.node.removeAttribute("aria-current");
    this.#row(symbol).node.setAttribute("aria-current", "true");
    this.#chart.open(this.#feed, symbol);
  }
}
