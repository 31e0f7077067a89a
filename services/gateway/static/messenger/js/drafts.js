// Texts that were begun and not sent, one for each other person: in memory, on this device's disk as one types, and a
// moment later at the server, from where the user's other devices have them.

import * as api from "./api.js";
import { backoffDelay } from "./backoff.js";
import { draftsOf, dropDraft, keepDraft } from "./storage.js";

// After the last key; an emptied draft is saved at once.
const SAVE_AFTER_MS = 1_500;
const RETRY_MS = 15_000;

export class Drafts {
  constructor(store) {
    this.store = store;
    this.owner = store.me.user_id;
    this.texts = new Map();
    this.writing = new Set();
    // To whom a draft was changed here that the server does not have yet: it is newer than what comes from there.
    this.unsaved = new Set();
    this.saving = new Set();
    this.timers = new Map();
    this.stopped = false;
    this.events = { "conversation.updated": ({ user_id: peer, draft }) => draft !== undefined && this.receive(peer, draft) };
    // Other tabs of the same person.
    this.tabs = globalThis.BroadcastChannel ? new BroadcastChannel(`vestnik-drafts-${this.owner}`) : null;
    this.tabs?.addEventListener("message", ({ data }) => this.#receiveFromTab(data));
    // Resolves when those on disk are there too; what was typed meanwhile is newer.
    this.opened = draftsOf(this.owner).then((drafts) => {
      for (const { peer, text, unsaved } of drafts) {
        if (this.texts.has(peer)) continue;
        // An older release has kept drafts on this device alone.
        if (unsaved !== false) this.unsaved.add(peer);
        this.#set(peer, text);
      }
      if (store.connected) this.onConnected();
    });
  }

  /** Another tab has changed a draft, or saved it. Where that one is closed before, this one saves it. */
  #receiveFromTab({ peer, text, saved }) {
    if (!saved) {
      this.unsaved.add(peer);
      this.#set(peer, text);
      this.#saveIn(2 * SAVE_AFTER_MS, peer);
    } else if (text === this.to(peer)) {
      this.unsaved.delete(peer);
      clearTimeout(this.timers.get(peer));
    }
  }

  onConnected() {
    for (const peer of this.unsaved) this.#saveIn(0, peer);
  }

  stop() {
    this.stopped = true;
    this.tabs?.close();
    for (const timer of this.timers.values()) clearTimeout(timer);
  }

  /** The draft to one person; an empty text where there is none. */
  to(peer) {
    return this.texts.get(peer) ?? "";
  }

  /** Keeps the text as it is; white space alone is none. */
  keep(peer, text) {
    const draft = text.trim() ? text : "";
    if (draft === this.to(peer)) return;
    this.unsaved.add(peer);
    this.#set(peer, draft);
    this.tabs?.postMessage({ peer, text: draft });
    this.#write(peer);
    this.#saveIn(draft ? SAVE_AFTER_MS : 0, peer);
  }

  /** Takes what the server has, unless a newer text waits here. */
  async receive(peer, draft) {
    await this.opened;
    if (this.stopped || this.unsaved.has(peer) || draft === this.to(peer)) return;
    this.#set(peer, draft);
    this.#write(peer);
  }

  #set(peer, text) {
    this.texts.set(peer, text);
    if (!this.stopped) this.store.changed("drafts", peer);
  }

  #saveIn(milliseconds, peer) {
    clearTimeout(this.timers.get(peer));
    this.timers.set(peer, setTimeout(() => this.#save(peer), milliseconds));
  }

  /** Saves the draft at the server, one request at a time. */
  async #save(peer) {
    if (this.saving.has(peer)) return this.#saveIn(SAVE_AFTER_MS, peer);
    this.saving.add(peer);
    const draft = this.to(peer);
    let failure = null;
    try {
      await api.request("PATCH", `/v1/conversations/${peer}`, { body: { draft }, type: "application/merge-patch+json" });
    } catch (error) {
      failure = error;
    }
    this.saving.delete(peer);
    // Otherwise the next text has its own turn.
    if (this.stopped || draft !== this.to(peer)) return;
    // One that is refused stays unsaved, so that nothing from the server replaces it.
    if (failure) return failure.passing ? this.#saveIn(backoffDelay(RETRY_MS, failure.retryAfter), peer) : undefined;
    this.unsaved.delete(peer);
    this.store.conversationSettings.draftSaved(peer, draft);
    this.tabs?.postMessage({ peer, text: draft, saved: true });
    this.#write(peer);
  }

  /** One write at a time for each person: the next one has the latest state. */
  async #write(peer) {
    if (this.writing.has(peer)) return;
    this.writing.add(peer);
    const state = () => ({ peer, text: this.to(peer), unsaved: this.unsaved.has(peer) });
    for (let written = null; !this.stopped && written !== JSON.stringify(state());) {
      const { text, unsaved } = state();
      written = JSON.stringify(state());
      // That a draft was emptied is kept until the server knows it.
      await (text || unsaved ? keepDraft(this.owner, state()) : dropDraft(this.owner, peer));
    }
    this.writing.delete(peer);
  }
}
