// The last state seen, on this device's disk: the messenger opens with it before the gateway answers, or without it.

import { loadLastState, saveLastState } from "../storage.js";

const WRITE_AFTER_MS = 1_000;
const MOST_PROFILES = 500, MOST_CONVERSATIONS = 20, MOST_MESSAGES = 50;

export class Cache {
  constructor(store) {
    this.store = store;
    // The list of friends decides whose messages are forgotten.
    for (const kind of ["conversations", "friends", "profile", "messages"]) store.addEventListener(kind, () => this.#writeSoon());
  }

  stop() {
    clearTimeout(this.timer);
  }

  async restore() {
    const { conversations, messages, profiles, me } = this.store;
    const state = await loadLastState(me.user_id);
    if (!state) return;
    profiles.restore(state.profiles);
    messages.restore(state.threads);
    conversations.restore(state.conversations);
  }

  #writeSoon() {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      const { conversations, messages, profiles, me } = this.store;
      saveLastState(me.user_id, {
        conversations: [...conversations.values()],
        profiles: [...profiles.values()].slice(-MOST_PROFILES),
        threads: [...messages.entries()].slice(-MOST_CONVERSATIONS).map(([peer, { items }]) => [peer, items.slice(-MOST_MESSAGES)]),
      });
    }, WRITE_AFTER_MS);
  }
}
