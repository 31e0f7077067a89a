// The user's conversations as the list shows them: the last message, what is unread, how far both people have read.

import * as api from "../api.js";
import { isMuted } from "./conversation_settings.js";

/** Sets the unread count that belongs to the last message and the user's read mark. */
function countUnread(conversation) {
  conversation.unread_count = Math.max(0, (conversation.last_message?.sequence ?? 0) - conversation.seen_sequence);
  return conversation;
}

/** A loaded conversation, merged with what the live stream has brought before: marks and messages only grow. */
function merged(known, loaded) {
  if (!known) return loaded;
  const ahead = (known.last_message?.sequence ?? 0) > (loaded.last_message?.sequence ?? 0);
  return countUnread({
    ...loaded, last_message: ahead ? known.last_message : loaded.last_message,
    seen_sequence: Math.max(known.seen_sequence, loaded.seen_sequence),
    peer_seen_sequence: Math.max(known.peer_seen_sequence, loaded.peer_seen_sequence),
  });
}

export class Conversations {
  #resolveListed;

  constructor(store) {
    this.store = store;
    // By the other person's id: {user_id, conversation_id, last_message, unread_count, seen_sequence,
    // peer_seen_sequence, muted_until?, pinned, archived}.
    this.byPeer = new Map();
    this.ready = false;
    // Resolves when the list was loaded, or could not be for now.
    this.listed = new Promise((resolve) => { this.#resolveListed = resolve; });
    this.events = { "message.sent": (data) => this.#receive(data) };
  }

  get(peer) {
    return this.byPeer.get(peer);
  }

  has(peer) {
    return this.byPeer.has(peer);
  }

  values() {
    return this.byPeer.values();
  }

  byId(conversationId) {
    return [...this.values()].find((conversation) => conversation.conversation_id === conversationId);
  }

  /** The number of unread messages in conversations that are not muted. */
  get unread() {
    return [...this.values()].reduce((sum, conversation) => sum + (isMuted(conversation) ? 0 : conversation.unread_count), 0);
  }

  /** Pinned ones first; then the newest message first, one without messages by when the friendship began. */
  get ordered() {
    const { friends, outbox } = this.store;
    const opened = new Map(friends.accepted.map(({ user_id: peer, since }) => [peer, since]));
    const newest = ({ user_id: peer, last_message: last }) => outbox.to(peer).at(-1)?.at ?? Date.parse(last?.sent_at ?? opened.get(peer) ?? 0);
    return [...this.values()].sort((first, second) => (second.pinned ?? false) - (first.pinned ?? false) || newest(second) - newest(first));
  }

  onDisconnected() {
    this.missedDrafts = true;
  }

  /** The stream brings what was missed but for drafts, which are in the list alone. */
  onConnected() {
    if (!this.missedDrafts) return;
    this.missedDrafts = false;
    this.load().catch(() => { this.missedDrafts = true; });
  }

  restore(conversations) {
    this.byPeer = new Map(conversations.map((conversation) => [conversation.user_id, conversation]));
    this.ready = this.byPeer.size > 0;
    this.store.changed("conversations");
  }

  /** Loads the list; returns the position after it. */
  async load(since = null) {
    const before = new Set(this.byPeer.keys());
    const { items, position, drafts_unavailable: noDrafts } = await this.store.conversationSettings.keepNewer(() => api.all("/v1/conversations", { since }));
    const listed = items.map((loaded) => [loaded.user_id, merged(this.byPeer.get(loaded.user_id), this.#withChanges(loaded))]);
    // What was begun while the list was on its way is not in it; what was there before and is no more has been closed.
    const begun = [...this.byPeer].filter(([peer]) => !before.has(peer));
    this.byPeer = new Map([...begun, ...listed]);
    this.ready = true;
    this.#resolveListed();
    this.store.changed("conversations");
    if (!noDrafts) for (const { user_id: peer, draft } of items) this.store.drafts.receive(peer, draft ?? "");
    return position;
  }

  loadFailed() {
    this.#resolveListed();
  }

  /** Adds a message: the live stream and the answer to sending both bring it. */
  addMessage(peer, conversationId, data) {
    const { store } = this, message = store.messageChanges.applyTo(data), { sequence, sender_id } = message;
    const conversation = this.get(peer) ?? {
      user_id: peer, conversation_id: conversationId, last_message: null, unread_count: 0, seen_sequence: 0, peer_seen_sequence: 0, pinned: false, archived: false,
    };
    this.byPeer.set(peer, conversation);
    if (sequence > (conversation.last_message?.sequence ?? 0)) conversation.last_message = message;
    // Writing counts as having read.
    const mark = sender_id === store.me.user_id ? "seen_sequence" : "peer_seen_sequence";
    conversation[mark] = Math.max(conversation[mark], sequence);
    store.messages.add(peer, message);
    this.readChanged(conversation);
    store.changed("messages", peer);
  }

  /** Updates the last message after a change of a message. */
  applyChanges(peer, messageId) {
    const conversation = this.get(peer);
    if (conversation?.last_message?.message_id !== messageId) return;
    conversation.last_message = this.store.messageChanges.applyTo(conversation.last_message);
    this.store.changed("conversations");
  }

  /** Updates the last message, when the other person's account was deleted. */
  applyAllChanges(peer) {
    const last = this.get(peer)?.last_message;
    if (last) this.applyChanges(peer, last.message_id);
  }

  /** Updates what depends on how far a conversation was read. */
  readChanged(conversation) {
    countUnread(conversation);
    this.store.notifications.readUpTo(conversation);
    this.store.changed("conversations");
  }

  #receive(data) {
    if (data.sender_id === this.store.me.user_id) this.store.outbox.noteSent(data);
    this.addMessage(data.user_id, data.conversation_id, data);
    this.store.changed("message_event", { peer: data.user_id, kind: "sent", by: data.sender_id, text: data.text });
  }

  #withChanges(conversation) {
    const { last_message: last } = conversation;
    return { ...conversation, last_message: last && this.store.messageChanges.applyTo(last) };
  }
}
