// Notifications, newest first; of a conversation only that of its newest message.

import * as api from "../api.js";
import { isAboutAccount } from "./notification_kinds.js";

const MOST = 100;
const LIST = `/v1/notifications?limit=${MOST}`;
// How long after an act in this page its notification may arrive.
const OWN_ACT_MS = 60_000;

function newestFirst(first, second) {
  return second.at.localeCompare(first.at) || second.notification_id.localeCompare(first.notification_id);
}

const isMessage = ({ kind }) => kind === "message";

/** Of each person's messages the first in the list: that of the newest. */
function oncePerConversation(items) {
  const people = new Set();
  return items.filter((item) => !isMessage(item) || (!people.has(item.from_user_id) && people.add(item.from_user_id)));
}

/** The list by conversation; one that has every message where the former was asked for too often. */
function loadList() {
  return api.get(`${LIST}&group=conversation`).catch((error) => {
    if (error.status !== 429) throw error;
    return api.get(LIST);
  });
}

export class Notifications {
  constructor(store) {
    this.store = store;
    this.items = [];
    this.loaded = false;
    // Why the last load failed.
    this.error = null;
    // Loads in progress, each with what the live stream and this page have changed since it began.
    this.loads = new Set();
    this.loadsBegun = 0;
    this.loadApplied = 0;
    this.readingAboutAccount = false;
    // When the user last did in this page what causes a notification of a kind.
    this.ownActs = new Map();
    this.events = {
      "notification.created": (notification) => this.#add(notification),
      "notification.read": (data) => this.#markRead(data),
    };
  }

  onConnected() {
    if (this.error) this.load().catch(() => {});
  }

  /** Loads the newest; changes that happened in the meantime are applied to what was loaded. */
  async load() {
    const load = { number: ++this.loadsBegun, changes: [] };
    this.loads.add(load);
    try {
      const { items } = await loadList();
      // The answer of a load that began later is newer.
      if (load.number < this.loadApplied) return;
      this.loadApplied = load.number;
      this.items = oncePerConversation(items);
      this.loaded = true;
      this.error = null;
    } catch (error) {
      if (load.number < this.loadApplied) return;
      this.error = error;
      this.store.changed("notifications");
      throw error;
    } finally {
      this.loads.delete(load);
    }
    for (const change of load.changes) change();
    for (const conversation of this.store.conversations.values()) this.readUpTo(conversation);
    this.store.changed("notifications");
  }

  /** Marks one as read; that of a message with those of all earlier messages of its conversation. */
  async read(id) {
    const isOfMessage = this.items.some((item) => item.notification_id === id && isMessage(item));
    await api.post("/v1/notifications/read", { notification_ids: [id], ...(isOfMessage && { group: "conversation" }) });
    this.#markRead({ notification_ids: [id] });
  }

  /** Runs an act of this page that causes a notification of the kind: this page does not alert to that one. */
  async asOwnAct(kind, act = () => {}) {
    this.ownActs.set(kind, performance.now());
    try {
      return await act();
    } catch (error) {
      this.ownActs.delete(kind);
      throw error;
    }
  }

  /** Marks those about the user's own account as read. */
  async readAboutAccount() {
    const ids = this.items.filter((item) => !item.read && isAboutAccount(item)).map((item) => item.notification_id);
    if (!ids.length || this.readingAboutAccount) return;
    this.readingAboutAccount = true;
    try {
      await api.post("/v1/notifications/read", { notification_ids: ids });
      this.#markRead({ notification_ids: ids });
    } finally {
      this.readingAboutAccount = false;
    }
  }

  /** Marks all that are listed as read. */
  async readAll() {
    const up_to = this.items[0]?.notification_id;
    if (!up_to) return;
    await api.post("/v1/notifications/read", { up_to });
    await this.load().catch(() => {});
  }

  /** The notifications of messages are read with them. */
  readUpTo({ user_id: peer, seen_sequence: seen, unread_count: unread, last_message: last }) {
    // A notification may be here before its message.
    const until = unread ? this.store.messages.find(peer, seen)?.sent_at : last?.sent_at;
    const read = this.items.filter((item) => !item.read && isMessage(item) && item.from_user_id === peer && item.at <= (until ?? ""));
    for (const item of read) item.read = true;
    if (read.length) this.store.changed("notifications");
  }

  /** The notification of a message that was deleted is read, unless it stands for other unread ones of its conversation. */
  messageDeleted({ sender_id, sent_at }) {
    if (this.store.conversations.get(sender_id)?.unread_count > 1) return;
    const isOfMessage = (item) => isMessage(item) && item.from_user_id === sender_id && item.at === sent_at;
    this.#change(() => { for (const item of this.items.filter(isOfMessage)) item.read = true; });
  }

  /** Changes the list now, and once more when a load that has begun replaces it. */
  #change(change) {
    for (const load of this.loads) load.changes.push(change);
    change();
    this.store.changed("notifications");
  }

  #add(notification) {
    const isNew = !notification.read && !this.items.some((item) => item.notification_id === notification.notification_id);
    this.#change(() => {
      if (this.items.some((item) => item.notification_id === notification.notification_id)) return;
      this.items = oncePerConversation([notification, ...this.items].sort(newestFirst)).slice(0, MOST);
    });
    if (isNew && isAboutAccount(notification) && !this.#isOwnAct(notification)) this.store.changed("account_notification", notification);
    const conversation = this.store.conversations.get(notification.from_user_id);
    if (conversation) this.readUpTo(conversation);
  }

  #isOwnAct({ kind }) {
    const at = this.ownActs.get(kind) ?? -Infinity;
    this.ownActs.delete(kind);
    return performance.now() - at < OWN_ACT_MS;
  }

  #markRead({ notification_ids: ids, up_to }) {
    this.#change(() => {
      const through = this.items.findIndex((item) => item.notification_id === up_to);
      this.items.forEach((item, index) => {
        if (ids.includes(item.notification_id) || (through >= 0 && index >= through)) item.read = true;
      });
    });
  }
}
