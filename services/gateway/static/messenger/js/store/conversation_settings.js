// What the user has set for each conversation: muted, pinned, archived. The same on all of the user's devices.

import * as api from "../api.js";

const FIELDS = ["muted_until", "pinned", "archived"];
// A timer of a browser counts no further.
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Whether a conversation is muted now. */
export function isMuted({ muted_until: until }) {
  return until === "forever" || Date.parse(until ?? 0) > Date.now();
}

export class ConversationSettings {
  constructor(store) {
    this.store = store;
    // Loads in progress, each with what came by person since it began: that is newer than its answer.
    this.loads = new Set();
    store.addEventListener("conversations", () => this.#awaitEndOfMute());
    // An event with a draft is about that alone.
    this.events = { "conversation.updated": (data) => (data.draft === undefined ? this.#apply(data.user_id, data) : this.draftSaved(data.user_id, data.draft)) };
  }

  stop() {
    clearTimeout(this.timer);
  }

  /** Changes settings of the conversation with a person: `{muted_until?, pinned?, archived?}`. Throws `Refused`. */
  async change(peer, patch) {
    await api.request("PATCH", `/v1/conversations/${peer}`, { body: patch, type: "application/merge-patch+json" });
    const conversation = this.store.conversations.get(peer);
    if (conversation) this.#apply(peer, { ...conversation, ...patch });
  }

  /** Calls `load` and returns its answer, whose items have the settings and drafts that came in the meantime. */
  async keepNewer(load) {
    const newer = new Map();
    this.loads.add(newer);
    try {
      const answer = await load();
      return { ...answer, items: answer.items.map((item) => ({ ...item, ...newer.get(item.user_id) })) };
    } finally {
      this.loads.delete(newer);
    }
  }

  /** The views show when the next mute is over: no event says so. */
  #awaitEndOfMute() {
    clearTimeout(this.timer);
    const ends = [...this.store.conversations.values()].filter(isMuted).map(({ muted_until: until }) => Date.parse(until)).filter((end) => end);
    if (!ends.length) return;
    const wait = Math.min(Math.min(...ends) - Date.now(), LONGEST_TIMER_MS);
    this.timer = setTimeout(() => this.store.changed("conversations"), Math.max(0, wait));
  }

  draftSaved(peer, draft) {
    this.#note(peer, { draft });
  }

  #note(peer, values) {
    for (const newer of this.loads) newer.set(peer, { ...newer.get(peer), ...values });
  }

  #apply(peer, data) {
    const settings = Object.fromEntries(FIELDS.map((field) => [field, data[field]]));
    this.#note(peer, settings);
    const conversation = this.store.conversations.get(peer);
    if (!conversation) return;
    Object.assign(conversation, settings);
    this.store.changed("conversations");
  }
}
