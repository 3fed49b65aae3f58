// The WebSocket of one feed, with reconnection after a pause that doubles and has jitter.

import { token } from "./api.js";

const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 10_000;
const SILENT_MS = 60_000; // the server sends heartbeats more often
const POLICY = 1008;

export class Push {
  #socket = null;
  #symbols = [];
  #pause = FIRST_PAUSE_MS;
  #timer = 0;
  #silence = 0;

  /** `onValues` receives values; `onState` receives a state (live, waiting, refused) and its cause. */
  constructor(feed, { onValues, onState }) {
    this.feed = feed;
    this.onValues = onValues;
    this.onState = onState;
    this.#open();
  }

  subscribe(symbols) {
    const before = new Set(this.#symbols);
    const after = new Set(symbols);
    this.#symbols = symbols;
    this.#send({
      subscribe: symbols.filter((symbol) => !before.has(symbol)),
      unsubscribe: [...before].filter((symbol) => !after.has(symbol)),
    });
  }

  close() {
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws/${this.feed}`);
    this.#socket = socket;
    socket.onopen = () => this.#send({ token: token(), subscribe: this.#symbols });
    socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    socket.onclose = (event) => {
      if (this.#socket !== socket) return; // closed on purpose
      clearTimeout(this.#silence);
      if (event.code === POLICY && event.reason.includes("token")) return this.onState("refused", event.reason);
      this.onState("waiting", event.reason || "the connection ended");
      this.#timer = setTimeout(() => this.#open(), this.#pause * (0.5 + Math.random() / 2));
      this.#pause = Math.min(this.#pause * 2, MAX_PAUSE_MS);
    };
    this.#restartSilenceTimer();
  }

  #restartSilenceTimer() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#socket?.close(), SILENT_MS);
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #receive(message) {
    this.#restartSilenceTimer();
    if (message.type === "hello") {
      this.#pause = FIRST_PAUSE_MS;
      this.onState("live", "");
    } else if (message.type === "values") this.onValues(message.values);
    else if (message.type === "status") this.onState(message.redis === "ok" ? "live" : "waiting", message.why);
  }
}
