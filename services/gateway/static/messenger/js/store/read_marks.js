// How far the user has read each conversation: sent to the gateway, and received from it for both people.

import * as api from "../api.js";

const SEND_PAUSE_MS = 250, RETRY_MS = 3_000;

export class ReadMarks {
  constructor(store) {
    this.store = store;
    // By the other person's id: the sequence up to which was read and that the gateway does not know yet.
    this.unsent = new Map();
    this.sending = new Set();
    this.events = { "message.seen": (data) => this.#receive(data) };
  }

  onConnected() {
    for (const peer of this.unsent.keys()) this.#send(peer);
  }

  /** Everything up to here was on the screen. */
  mark(peer, sequence) {
    const conversation = this.store.conversations.get(peer);
    if (!conversation || sequence <= conversation.seen_sequence) return;
    conversation.seen_sequence = sequence;
    this.store.conversations.readChanged(conversation);
    this.unsent.set(peer, sequence);
    this.#send(peer);
  }

  /** Sends the marks: one request at a time for each person, so that scrolling makes few of them. */
  async #send(peer) {
    const { store } = this;
    if (this.sending.has(peer)) return;
    this.sending.add(peer);
    try {
      while (this.unsent.has(peer) && !store.closed) {
        const sequence = this.unsent.get(peer);
        await api.put(`/v1/conversations/${peer}/seen`, { sequence }).catch((error) => { if (error.passing) throw error; });
        if (this.unsent.get(peer) === sequence) this.unsent.delete(peer);
        await new Promise((resolve) => { setTimeout(resolve, SEND_PAUSE_MS); });
      }
    } catch {
      setTimeout(() => store.connected && !store.closed && this.#send(peer), RETRY_MS);
    } finally {
      this.sending.delete(peer);
    }
  }

  #receive({ conversation_id: id, user_id: reader, sequence }) {
    const conversation = this.store.conversations.byId(id);
    if (!conversation) return;
    const mark = reader === this.store.me.user_id ? "seen_sequence" : "peer_seen_sequence";
    conversation[mark] = Math.max(conversation[mark], sequence);
    this.store.conversations.readChanged(conversation);
    this.store.changed("messages", conversation.user_id);
  }
}
