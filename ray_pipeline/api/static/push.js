// The WebSocket of one feed: it reconnects for ever, and says what it hears.

import { token } from "./api.js";

const FIRST_MS = 500;
const LAST_MS = 10_000;
const SILENT_MS = 60_000; // heartbeats come more often
const POLICY = 1008;

export class Push {
  #socket = null;
  #symbols = [];
  #pause = FIRST_MS;
  #timer = 0;
  #silence = 0;

  /** `heard` gets values, `changed` gets a state: live, waiting, refused; and why. */
  constructor(feed, { heard, changed }) {
    this.feed = feed;
    this.heard = heard;
    this.changed = changed;
    this.#open();
  }

  want(symbols) {
    const before = new Set(this.#symbols);
    const after = new Set(symbols);
    this.#symbols = symbols;
    this.#say({
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
    socket.onopen = () => this.#say({ token: token(), subscribe: this.#symbols });
    socket.onmessage = (event) => this.#hear(JSON.parse(event.data));
    socket.onclose = (event) => {
      if (this.#socket !== socket) return;
      clearTimeout(this.#silence);
      if (event.code === POLICY && event.reason.includes("token")) return this.changed("refused", event.reason);
      this.changed("waiting", event.reason || "the connection ended");
      this.#timer = setTimeout(() => this.#open(), this.#pause * (0.5 + Math.random() / 2));
      this.#pause = Math.min(this.#pause * 2, LAST_MS);
    };
    this.#listen();
  }

  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#socket?.close(), SILENT_MS);
  }

  #say(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #hear(message) {
    this.#listen();
    if (message.type === "hello") {
      this.#pause = FIRST_MS;
      this.changed("live", "");
    } else if (message.type === "values") this.heard(message.values);
    else if (message.type === "status") this.changed(message.redis === "ok" ? "live" : "waiting", message.why);
  }
}
