// Candles of one symbol. Live trades update the last one; a reload corrects all from the store.

import { get } from "./api.js";
import { byId, clock, count } from "./dom.js";

const SECONDS = { "1s": 1, "1m": 60, "5m": 300, "1h": 3600 };
const BARS = 300;
const CORRECT_MS = 10_000;

export class Chart {
  symbol = "";
  #feed = "";
  #chart = null;
  #candles = null;
  #last = null;

  constructor() {
    setInterval(() => this.symbol && !document.hidden && this.reload(false), CORRECT_MS);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#colour());
    document.addEventListener("themechange", () => this.#colour());
  }

  async open(feed, symbol) {
    this.#feed = feed;
    this.symbol = symbol;
    byId("chart-title").textContent = `${symbol}, ${feed}`;
    await this.reload();
  }

  async reload(fit = true) {
    if (!this.symbol) return;
    this.#make();
    const { symbol } = this;
    const interval = byId("interval").value;
    const path = `/v1/feeds/${this.#feed}/bars/${encodeURIComponent(symbol)}`;
    let rows;
    try {
      ({ rows } = await get(`${path}?interval=${interval}&order=newest&limit=${BARS}`));
    } catch (error) {
      byId("chart-text").textContent = error.message;
      return;
    }
    // The user may have chosen another symbol or interval during the request.
    if (symbol !== this.symbol || interval !== byId("interval").value) return;
    const bars = rows.reverse().map((row) => ({
      time: Date.parse(row.start_at) / 1000,
      open: row.open, high: row.high, low: row.low, close: row.close,
    }));
    this.#candles.setData(bars);
    this.#last = bars.at(-1) ?? null;
    if (fit) this.#chart.timeScale().fitContent();
    this.#describe(bars.length);
  }

  trade(price, at) {
    if (!this.#candles || !this.#last) return;
    const length = SECONDS[byId("interval").value];
    const time = Math.floor(at / 1000 / length) * length;
    if (time < this.#last.time) return;
    const same = time === this.#last.time;
    const bar = same ? { ...this.#last } : { time, open: price, high: price, low: price };
    bar.high = Math.max(bar.high, price);
    bar.low = Math.min(bar.low, price);
    bar.close = price;
    this.#last = bar;
    this.#candles.update(bar);
  }

  #make() {
    if (this.#chart) return;
    const { createChart, CandlestickSeries } = window.LightweightCharts;
    this.#chart = createChart(byId("chart"), {
      autoSize: true,
      layout: { attributionLogo: false },
      timeScale: { timeVisible: true, secondsVisible: true },
    });
    this.#candles = this.#chart.addSeries(CandlestickSeries);
    this.#colour();
  }

  #colour() {
    if (!this.#chart) return;
    const style = getComputedStyle(document.documentElement);
    const value = (name) => style.getPropertyValue(name).trim();
    const [up, down] = [value("--good"), value("--bad")];
    this.#chart.applyOptions({
      layout: { background: { color: value("--back") }, textColor: value("--front") },
      grid: { vertLines: { color: value("--line") }, horzLines: { color: value("--line") } },
    });
    this.#candles.applyOptions({
      upColor: up, downColor: down, wickUpColor: up, wickDownColor: down,
      borderUpColor: up, borderDownColor: down,
    });
  }

  #describe(bars) {
    const last = this.#last;
    byId("chart-text").textContent = last
      ? `${bars} bars; the last of ${clock(last.time * 1000)}: open ${count(last.open)}, high ` +
        `${count(last.high)}, low ${count(last.low)}, close ${count(last.close)}`
      : "No bars yet: the first trade creates one.";
  }
}
