// Texts that were begun and not sent, one for each other person: in memory, and on this device's disk as one types.

import { draftsOf, dropDraft, keepDraft } from "./storage.js";

export class Drafts {
  /** `changed(peer)`: the draft to a person is another one. */
  constructor({ owner, changed }) {
    this.owner = owner;
    this.changed = changed;
    this.texts = new Map();
    this.writing = new Set();
    this.stopped = false;
    // Other tabs of the same person.
    this.tabs = globalThis.BroadcastChannel ? new BroadcastChannel(`vestnik-drafts-${owner}`) : null;
    this.tabs?.addEventListener("message", ({ data }) => this.#set(data.peer, data.text));
    // Resolves when those on disk are there too; what was typed meanwhile is newer.
    this.opened = draftsOf(owner).then((kept) => {
      for (const [peer, text] of kept) if (!this.texts.has(peer)) this.#set(peer, text);
    });
  }

  stop() {
    this.stopped = true;
    this.tabs?.close();
  }

  /** The draft to one person; an empty text where there is none. */
  to(peer) {
    return this.texts.get(peer) ?? "";
  }

  /** Keeps the text as it is; white space alone is none. */
  keep(peer, text) {
    const draft = text.trim() ? text : "";
    if (draft === this.to(peer)) return;
    this.#set(peer, draft);
    this.tabs?.postMessage({ peer, text: draft });
    this.#write(peer);
  }

  #set(peer, text) {
    this.texts.set(peer, text);
    if (!this.stopped) this.changed(peer);
  }

  /** One write at a time for each person: the next one has the latest text. */
  async #write(peer) {
    if (this.writing.has(peer)) return;
    this.writing.add(peer);
    for (let written = null; !this.stopped && written !== this.to(peer);) {
      written = this.to(peer);
      await (written ? keepDraft(this.owner, peer, written) : dropDraft(this.owner, peer));
    }
    this.writing.delete(peer);
  }
}
