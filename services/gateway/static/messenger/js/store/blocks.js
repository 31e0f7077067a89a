// Whom the user has blocked, the latest first.

import * as api from "../api.js";

export class Blocks {
  constructor(store) {
    this.store = store;
    // {user_id, since}
    this.items = [];
    this.known = false;
    // Counts the loads: only the last one's answer is used.
    this.loads = 0;
    this.events = { "block.changed": (_data, position) => this.load(position).catch(() => {}) };
  }

  async load(since = null) {
    const load = ++this.loads;
    const { items } = await api.all("/v1/blocks", { since });
    if (load !== this.loads) return;
    this.items = items;
    this.known = true;
    this.store.changed("blocks");
  }

  has(userId) {
    return this.items.some((block) => block.user_id === userId);
  }

  async add(userId) {
    await api.put(`/v1/blocks/${userId}`);
    await this.load();
  }

  async remove(userId) {
    await api.remove(`/v1/blocks/${userId}`);
    await this.load();
  }
}
