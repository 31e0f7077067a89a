// What the messenger knows, in one part for each concept. Views listen to its changes and draw; the live stream, the
// outbox and the answers of requests change it. Data flows one way.

import * as api from "../api.js";
import { Drafts } from "../drafts.js";
import { Live } from "../live.js";
import { Outbox } from "../outbox.js";
import { Backoff } from "../backoff.js";
import { Account } from "./account.js";
import { Blocks } from "./blocks.js";
import { Cache } from "./cache.js";
import { ConversationSettings } from "./conversation_settings.js";
import { Conversations } from "./conversations.js";
import { Friends } from "./friends.js";
import { MessageChanges } from "./message_changes.js";
import { Messages } from "./messages.js";
import { Notifications } from "./notifications.js";
import { Presence } from "./presence.js";
import { Profiles } from "./profiles.js";
import { Quotes } from "./quotes.js";
import { ReadMarks } from "./read_marks.js";

const FIRST_PAUSE_MS = 500, LONGEST_PAUSE_MS = 15_000;

/**
 * Notifies its listeners of each change by its kind. A part may have: `events`, its handlers of live events by kind
 * (`friendship.*` handles every kind that begins so); `onConnected()` and `onDisconnected()`, called when the live stream has opened
 * and ended; `stop()`.
 */
export class Store extends EventTarget {
  constructor(me) {
    super();
    this.me = me;
    this.connected = false;
    // Whether the gateway could not be reached when the page was opened.
    this.startedOffline = false;
    this.profiles = new Profiles(this);
    this.friends = new Friends(this);
    this.blocks = new Blocks(this);
    this.conversations = new Conversations(this);
    this.conversationSettings = new ConversationSettings(this);
    this.messageChanges = new MessageChanges(this);
    this.messages = new Messages(this);
    this.quotes = new Quotes(this);
    this.readMarks = new ReadMarks(this);
    this.presence = new Presence(this);
    this.notifications = new Notifications(this);
    this.account = new Account(this);
    this.outbox = new Outbox({
      owner: me.user_id,
      done: (...accepted) => this.#accepted(...accepted),
      changed: (peer) => this.changed("messages", peer),
    });
    this.drafts = new Drafts(this);
    // What is edited or answered, by the other person: {edited, quoted, text}. It is there when the view is opened again.
    this.compositions = new Map();
    this.cache = new Cache(this);
    this.parts = [this.profiles, this.friends, this.blocks, this.conversations, this.conversationSettings, this.messageChanges,
      this.messages, this.quotes, this.readMarks, this.presence, this.notifications, this.account, this.outbox, this.drafts, this.cache];
    this.handlers = [{ "session.revoked": (data) => this.#sessionRevoked(data) }, ...this.parts.map((part) => part.events ?? {})];
    this.backoff = new Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
    this.live = this.#newLive();
  }

  /** Shows what was kept, then loads what there is, then follows. */
  async open() {
    await this.cache.restore();
    await this.outbox.open();
    this.#follow();
  }

  close() {
    this.closed = true;
    this.live.stop();
    this.backoff.stop();
    for (const part of this.parts) part.stop?.();
  }

  /** Notifies the views, and keeps what they show. */
  changed(kind, detail) {
    if (!this.closed) this.dispatchEvent(new CustomEvent(kind, { detail }));
  }

  #newLive() {
    return new Live({
      onEvent: (kind, data, position) => this.#handleEvent(kind, data, position),
      onState: (on) => this.#setConnected(on),
      reload: () => this.#reload(),
    });
  }

  #handleEvent(kind, data, position) {
    for (const events of this.handlers) (events[kind] ?? events[`${kind.split(".")[0]}.*`])?.(data, position);
  }

  /** Loads everything that is shown; returns the position after it. */
  async #reload() {
    this.messageChanges.clear();
    this.quotes.clear();
    const position = await this.conversations.load();
    await Promise.all([this.friends.load(), this.blocks.load(), this.notifications.load(), this.messages.reload()]);
    return position;
  }

  async #follow() {
    while (!this.closed) {
      try {
        // The stream goes on from where the list ends: nothing falls between the two.
        this.live.run(await this.conversations.load());
        await Promise.all([this.friends.load(), this.blocks.load(), this.notifications.load(), this.profiles.loadOwn()]);
        return;
      } catch (error) {
        this.conversations.loadFailed();
        this.live.stop();
        // The session is over; whatever else was wrong may be right at a later try.
        if (error.status === 401) return;
        this.startedOffline = true;
        this.changed("friends");
        this.#setConnected(false);
        this.live = this.#newLive();
        await this.backoff.wait(error.retryAfter);
      }
    }
  }

  #setConnected(on) {
    if (this.connected === on) return;
    this.connected = on;
    this.changed("connection");
    for (const part of this.parts) (on ? part.onConnected : part.onDisconnected)?.call(part);
  }

  /** Applies what the gateway has accepted from the outbox. */
  #accepted({ kind, peer, message_id, emoji }, answer, hasArrived) {
    const by = { message_id, sender_id: this.me.user_id };
    if (kind === "send") this.conversations.addMessage(peer, answer.conversation_id, answer);
    else if (kind === "edit") this.messageChanges.edit(peer, answer);
    else if (kind === "delete") this.messageChanges.delete(peer, by);
    else if (!hasArrived) this.messageChanges.reactOnce(peer, { ...by, emoji });
  }

  /** The stream has the end of all of the user's sessions; this page ends with its own. */
  #sessionRevoked(data) {
    if (data.session_id === api.currentSession()?.session_id) this.changed("ended", data);
    else this.changed("sessions");
  }
}
