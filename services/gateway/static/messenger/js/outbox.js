// Messages on their way: kept on disk before they are shown, sent one after the other in the order in which they were
// written, and repeated with the same id until the gateway has said what became of them, so that each goes out once.

import { Refused, post } from "./api.js";
import { dropUnsent, keepUnsent, unsentOf } from "./storage.js";
import { Pauses } from "./pauses.js";

const FIRST_PAUSE_MS = 1_000, LONGEST_PAUSE_MS = 30_000;

export class Outbox {
  /** `sent(message, answer)`, `failed(message)`: what became of one; `changed(peer)`: what waits is different. */
  constructor({ owner, sent, changed }) {
    this.owner = owner;
    this.sent = sent;
    this.changed = changed;
    this.waiting = [];
    this.working = false;
    this.stopped = false;
    this.pauses = new Pauses(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
  }

  /** Takes up what was left, and tries at once: the gateway answers. */
  async open() {
    const left = await unsentOf(this.owner);
    const known = new Set(this.waiting.map((one) => one.id));
    this.waiting = [...left.filter((one) => !known.has(one.id)), ...this.waiting];
    for (const peer of new Set(left.map((one) => one.peer))) this.changed(peer);
    this.pauses.wake();
    this.#work();
  }

  onConnected() {
    this.open();
  }

  stop() {
    this.stopped = true;
    this.pauses.stop();
  }

  /** The messages to one person that are not acknowledged, in order. */
  to(peer) {
    return this.waiting.filter((one) => one.peer === peer);
  }

  async add(peer, text) {
    const message = { id: crypto.randomUUID?.() ?? fallbackId(), owner: this.owner, peer, text, at: Date.now(), failed: null };
    this.waiting.push(message);
    this.changed(peer);
    await keepUnsent(message);
    this.#work();
  }

  async discard(id) {
    const message = this.waiting.find((one) => one.id === id);
    this.waiting = this.waiting.filter((one) => one.id !== id);
    await dropUnsent(id);
    if (message) this.changed(message.peer);
    this.#work();
  }

  async retry(id) {
    const message = this.waiting.find((one) => one.id === id);
    if (!message) return;
    message.failed = null;
    await keepUnsent(message);
    this.changed(message.peer);
    this.#work();
  }

  /** What has failed holds up the later ones to the same person, whose order it would break, and nobody else's. */
  #next() {
    const held = new Set();
    for (const message of this.waiting) {
      if (message.failed) held.add(message.peer);
      else if (!held.has(message.peer)) return message;
    }
    return undefined;
  }

  async #work() {
    if (this.working) {
      // A message that was just written does not wait for a long pause of an earlier one.
      this.pauses.wake();
      return;
    }
    this.working = true;
    for (let message; !this.stopped && (message = this.#next()); ) {
      try {
        const answer = await post(`/v1/conversations/${message.peer}/messages`, { text: message.text, client_message_id: message.id });
        this.pauses.reset();
        this.waiting = this.waiting.filter((one) => one.id !== message.id);
        this.sent(message, answer);
        this.changed(message.peer);
        await dropUnsent(message.id);
      } catch (error) {
        const refused = error instanceof Refused ? error : new Refused({ code: "other" }, 0);
        if (refused.status === 401) break;
        if (refused.passing) {
          await this.pauses.wait(refused.retryAfter);
        } else {
          message.failed = { code: refused.code, detail: refused.detail };
          await keepUnsent(message);
          this.changed(message.peer);
        }
      }
    }
    this.working = false;
  }
}

/** `crypto.randomUUID` is there on https and localhost alone. */
function fallbackId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
