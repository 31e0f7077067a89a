// The texts of messages that others answer: as they are now, which the message with the quote may not know.

import * as api from "../api.js";

export class Quotes {
  constructor(store) {
    this.store = store;
    // By message id: the messages that are not among those of the conversation that are loaded.
    this.loaded = new Map();
    // Ids that were asked for since the stream was opened.
    this.requestedIds = new Set();
  }

  onConnected() {
    this.requestedIds.clear();
  }

  clear() {
    this.loaded.clear();
    this.requestedIds.clear();
  }

  /** A message whose quote is as the quoted message is now; one whose text is not known yet is loaded. */
  applyTo(peer, message) {
    if (!message.reply_to) return message;
    const { message_id: id, sequence, sender_id } = message.reply_to;
    const { text, deleted } = this.store.messageChanges.applyToQuote(this.store.messages.find(peer, sequence) ?? this.loaded.get(id) ?? message.reply_to);
    if (text === undefined) this.#load(peer, id, sequence);
    return { ...message, reply_to: { message_id: id, sequence, sender_id, text: text ?? "…", deleted } };
  }

  async #load(peer, id, sequence) {
    if (this.requestedIds.has(id)) return;
    this.requestedIds.add(id);
    const page = await api.get(`/v1/conversations/${peer}/messages?limit=1&after=${sequence - 1}`).catch(() => null);
    if (page?.items[0]?.message_id !== id) return;
    this.loaded.set(id, page.items[0]);
    this.store.changed("messages", peer);
  }
}
