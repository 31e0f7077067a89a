// Friendships: friends, and requests in both directions.

import * as api from "../api.js";

const MOST = 10_000;
const STATES = ["accepted", "incoming", "outgoing"];

export class Friends {
  constructor(store) {
    this.store = store;
    this.accepted = [];
    this.incoming = [];
    this.outgoing = [];
    this.known = false;
    // Counts the loads: only the last one's answer is used.
    this.loads = 0;
    this.events = { "friendship.*": (_data, position) => this.#reloadAll(position) };
  }

  async load(since = null) {
    const load = ++this.loads;
    const lists = await Promise.all(STATES.map((state) => api.all(`/v1/friends?state=${state}`, { most: MOST, since })));
    if (load !== this.loads) return;
    [this.accepted, this.incoming, this.outgoing] = lists.map(({ items }) => items);
    this.known = true;
    this.store.messages.forgetOthers((peer) => this.relationship(peer) === "accepted");
    this.store.changed("friends");
  }

  /** The relationship of a user to the one who is logged in: `self`, `accepted`, `blocked`, `incoming`, `outgoing`, `none`, `unknown` (there is no such person),
      or null while that was not loaded; `accepted` where it cannot be loaded for now. */
  relationship(userId) {
    const { me, startedOffline, blocks, conversations, profiles } = this.store;
    if (userId === me.user_id) return "self";
    if (!this.known) return startedOffline || conversations.has(userId) ? "accepted" : null;
    if (blocks.has(userId)) return "blocked";
    const state = STATES.find((state) => this[state].some((friendship) => friendship.user_id === userId));
    return state ?? (profiles.unknown.has(userId) || profiles.isDeleted(userId) ? "unknown" : "none");
  }

  async add(userId) {
    await api.put(`/v1/friends/${userId}`);
    await this.#reloadAll();
  }

  async remove(userId) {
    await api.remove(`/v1/friends/${userId}`);
    await this.#reloadAll();
  }

  /** Loads what a friendship changes, as it is once the event of the position has happened. */
  async #reloadAll(since = null) {
    try {
      // The friends last: when a chat opens with them, the conversation is open too.
      await Promise.all([this.store.conversations.load(since), this.store.notifications.load()]);
      await this.load(since);
    } catch { /* the next event, or the next connection, loads them */ }
  }
}
