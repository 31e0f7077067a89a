// The live stream: read over `fetch`, since EventSource cannot carry the access token in a header and a token has no
// business in a URL. After every break it goes on behind the last event that was taken.

import { refusal, token } from "./api.js";
import { Backoff } from "./backoff.js";

const FIRST_PAUSE_MS = 500, LONGEST_PAUSE_MS = 15_000;
// A comment comes every 15 seconds: after three missed ones the connection is dead, even if it seems open.
const SILENCE_MS = 45_000;
// A stream that ends sooner than this counts as a failed try: the pauses go on growing.
const STABLE_MS = 10_000;

export class Live {
  /** `onEvent(kind, data, position)` gets every event once and in order; `onState(on)` gets whether the stream is open;
      `reload()` loads everything again if the position is no longer valid, and returns a new one. */
  constructor({ onEvent, onState, reload }) {
    this.onEvent = onEvent;
    this.onState = onState;
    this.reload = reload;
    this.last = null;
    this.positionLost = false;
    this.stopped = new AbortController();
    this.backoff = new Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
  }

  /** Follows until stopped, from a position on where one is known. */
  async run(since) {
    this.last = since ?? this.last;
    while (!this.stopped.signal.aborted) {
      let retryAfter = 0;
      try {
        await this.#read();
      } catch (error) {
        retryAfter = error.retryAfter;
        if (["invalid", "history_changed"].includes(error.code)) this.positionLost = true;
        if (error.status === 401) break;
      }
      this.onState(false);
      if (this.stopped.signal.aborted) break;
      await this.backoff.wait(retryAfter);
    }
  }

  stop() {
    this.stopped.abort();
    this.backoff.stop();
  }

  async #read() {
    const broken = new AbortController();
    const stop = () => broken.abort();
    this.stopped.signal.addEventListener("abort", stop);
    // The connection may seem open long after the network has gone.
    window.addEventListener("offline", stop);
    let silenceTimer = setTimeout(stop, SILENCE_MS), stableTimer;
    try {
      if (this.positionLost) {
        this.last = await this.reload();
        this.positionLost = false;
      }
      const headers = { Authorization: `Bearer ${await token()}`, Accept: "text/event-stream" };
      if (this.last) headers["Last-Event-ID"] = this.last;
      const answer = await fetch("/v1/events?notifications=true", { headers, cache: "no-store", signal: broken.signal });
      if (!answer.ok) throw await refusal(answer);
      stableTimer = setTimeout(() => this.backoff.reset(), STABLE_MS);
      this.onState(true);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(silenceTimer);
        silenceTimer = setTimeout(stop, SILENCE_MS);
        const blocks = (text + value).replaceAll("\r\n", "\n").split("\n\n");
        text = blocks.pop();
        for (const block of blocks) this.#handleBlock(block);
      }
    } finally {
      clearTimeout(silenceTimer);
      clearTimeout(stableTimer);
      this.stopped.signal.removeEventListener("abort", stop);
      window.removeEventListener("offline", stop);
    }
  }

  #handleBlock(block) {
    let kind = "message", id = null;
    const data = [];
    for (const line of block.split("\n")) {
      const [name, value] = [line.slice(0, Math.max(0, line.indexOf(":"))), line.slice(line.indexOf(":") + 1).replace(/^ /, "")];
      if (name === "event") kind = value;
      else if (name === "data") data.push(value);
      else if (name === "id") id = value;
    }
    if (data.length) this.onEvent(kind, JSON.parse(data.join("\n")), id);
    if (id !== null) this.last = id;
  }
}
