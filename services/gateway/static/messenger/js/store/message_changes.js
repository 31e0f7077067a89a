// What events have changed in messages. Every copy of a message that comes from elsewhere, such as the answer of a page
// that was on its way, may be older: the changes are applied to it.

import { messageOf, withoutText, withReaction } from "../message.js";

const MOST_MESSAGES = 1_000;

const isOlder = (edited, other) => Date.parse(edited ?? 0) < Date.parse(other ?? 0);

/** An emoji without the character that asks for its coloured form, which some keyboards leave out. */
const spelling = (emoji) => emoji?.replaceAll("\uFE0F", "");

export class MessageChanges {
  constructor(store) {
    this.store = store;
    // By message id, the one that was changed last at the end: {deleted, text, edited_at, reactions: emoji by user id}.
    this.byId = new Map();
    this.events = {
      "message.edited": (data) => this.edit(data.user_id, data),
      "message.deleted": (data) => {
        this.delete(data.user_id, data);
        store.notifications.messageDeleted(data);
      },
      "reaction.changed": (data) => {
        if (data.sender_id === store.me.user_id) store.outbox.noteReacted(data);
        this.react(data.user_id, data);
      },
    };
  }

  edit(peer, message) {
    const { message_id: id, text, edited_at } = message;
    if (isOlder(edited_at, this.byId.get(id)?.edited_at)) return;
    this.#change(peer, id, { text, edited_at });
    this.store.changed("message_event", { peer, kind: "edited", by: message.sender_id, text });
  }

  delete(peer, { message_id: id, sender_id: by }) {
    this.#change(peer, id, { deleted: true });
    this.store.changed("message_event", { peer, kind: "deleted", by });
  }

  /** `sender_id` is the user who has reacted. */
  react(peer, { message_id: id, sender_id: by, emoji }) {
    const reactions = new Map(this.byId.get(id)?.reactions).set(by, emoji);
    this.#change(peer, id, { reactions });
    this.store.changed("message_event", { peer, kind: "reacted", by, emoji });
  }

  /** The user's own reaction, unless the stream has brought it: that has the emoji in the gateway's spelling. */
  reactOnce(peer, reaction) {
    const { message_id: id, sender_id: by, emoji } = reaction, known = this.byId.get(id)?.reactions;
    if (!known?.has(by) || spelling(known.get(by)) !== spelling(emoji)) this.react(peer, reaction);
  }

  /** A message as it is after the changes, in the form in which the store keeps it. */
  applyTo(data) {
    let message = messageOf(data);
    const { deleted, text, edited_at, reactions = [] } = this.byId.get(message.message_id) ?? {};
    const { profiles } = this.store;
    if (deleted || message.deleted || profiles.isDeleted(message.sender_id)) return withoutText(message);
    if (edited_at && !isOlder(edited_at, message.edited_at)) message = { ...message, text, edited_at };
    for (const [userId, emoji] of reactions) message = { ...message, reactions: withReaction(message.reactions, userId, emoji) };
    for (const userId of (message.reactions ?? []).flatMap((reaction) => reaction.user_ids).filter((id) => profiles.isDeleted(id))) {
      message = { ...message, reactions: withReaction(message.reactions, userId, null) };
    }
    return message;
  }

  /** Whether an event has deleted the message. */
  isDeleted(id) {
    return this.byId.get(id)?.deleted ?? false;
  }

  /** Forgets the changes: everything is loaded again, from a state that has them. */
  clear() {
    this.byId.clear();
  }

  /** The text of a quoted message after the changes. */
  applyToQuote(quote) {
    const { deleted, text } = this.byId.get(quote.message_id) ?? {};
    return deleted || quote.deleted || this.store.profiles.isDeleted(quote.sender_id) ? { ...quote, text: "", deleted: true } : { ...quote, text: text ?? quote.text };
  }

  #change(peer, id, change) {
    const known = this.byId.get(id);
    this.byId.delete(id);
    this.byId.set(id, { ...known, ...change });
    if (this.byId.size > MOST_MESSAGES) this.byId.delete(this.byId.keys().next().value);
    this.store.messages.applyChanges(peer, id);
    this.store.conversations.applyChanges(peer, id);
    this.store.changed("messages", peer);
  }
}
