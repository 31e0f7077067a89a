// Who of the friends in view is online or was when, and who is writing to the user now.

import * as api from "../api.js";

// How long a typing notice lasts; how often the user's own is repeated while they type.
const TYPING_MS = 6_000, REPEAT_MS = 3_000;
// How many people one request may be about; how long new ones are gathered before it.
const MOST = 100, GATHER_MS = 300;
// How often "last seen" is drawn again.
const REDRAW_MS = 60_000;
const RETRY_MS = 15_000;

export class Presence {
  constructor(store) {
    this.store = store;
    // By person: {online, last_seen_at?}; those who show nothing are not in it.
    this.byPerson = new Map();
    // By person: the timer that ends their typing notice, and when one was last sent to them.
    this.typingTimers = new Map();
    this.sentAt = new Map();
    // Whom the server was asked about on this connection.
    this.requestedQuery = "";
    // Requests in progress, each with the people of whom an event came since it began: those are newer than its answer.
    this.requests = new Set();
    this.stopped = new AbortController();
    for (const kind of ["conversations", "friends"]) store.addEventListener(kind, () => this.#gather(), { signal: this.stopped.signal });
    this.redraw = setInterval(() => store.changed("presence"), REDRAW_MS);
    this.events = {
      presence: ({ user_id: person, ...state }) => this.#receive(person, state),
      typing: ({ user_id: person }) => this.#typingBegan(person),
      "message.sent": ({ sender_id: person }) => this.#typingEnded(person),
      // The server stops reporting a person who is no longer a friend, and reports a new friend only after the next request.
      "friendship.removed": ({ user_id: person }) => {
        this.requestedQuery = "";
        this.#receive(person, null);
      },
    };
  }

  onConnected() {
    this.requestedQuery = "";
    this.#gather();
  }

  /** Asks again: a user who hides their presence sees no presence of others. */
  refresh() {
    this.byPerson.clear();
    this.onConnected();
  }

  onDisconnected() {
    this.byPerson.clear();
    this.store.changed("presence");
  }

  stop() {
    this.stopped.abort();
    clearInterval(this.redraw);
    clearTimeout(this.gathering);
    for (const timer of this.typingTimers.values()) clearTimeout(timer);
  }

  of(person) {
    return this.byPerson.get(person);
  }

  isTyping(person) {
    return this.typingTimers.has(person);
  }

  /** Tells a friend that the user is writing to them, unless the user hides their presence. */
  notifyTyping(person) {
    const { connected, me, profiles } = this.store;
    if (!connected || profiles.get(me.user_id)?.presence === "nobody" || Date.now() - (this.sentAt.get(person) ?? 0) < REPEAT_MS) return;
    this.sentAt.set(person, Date.now());
    api.put(`/v1/conversations/${person}/typing`).catch(() => {});
  }

  #gather(milliseconds = GATHER_MS) {
    if (!this.store.connected || this.stopped.signal.aborted) return;
    clearTimeout(this.gathering);
    this.gathering = setTimeout(() => this.#ask().catch(() => {
      this.requestedQuery = "";
      this.#gather(RETRY_MS);
    }), milliseconds);
  }

  /** Asks about the friends at the top of the list, unless nobody new is among them. The answer is also a subscription. */
  async #ask() {
    const { conversations, friends } = this.store;
    const people = conversations.ordered.map((conversation) => conversation.user_id).filter((id) => friends.relationship(id) === "accepted").slice(0, MOST).sort();
    const query = people.map((id) => `user_id=${id}`).join("&");
    if (query === this.requestedQuery) return;
    this.requestedQuery = query;
    if (!people.length) return;
    const newer = new Set();
    this.requests.add(newer);
    try {
      const { items } = await api.get(`/v1/presence?${query}`);
      const answered = new Map(items.map(({ user_id: person, ...state }) => [person, state]));
      for (const person of people) if (!newer.has(person)) this.#set(person, answered.get(person));
    } finally {
      this.requests.delete(newer);
    }
    this.store.changed("presence");
  }

  #receive(person, state) {
    for (const newer of this.requests) newer.add(person);
    this.#set(person, state);
    if (!state?.online) this.#typingEnded(person);
    this.store.changed("presence");
  }

  #set(person, state) {
    if (state) this.byPerson.set(person, state);
    else this.byPerson.delete(person);
  }

  #typingBegan(person) {
    clearTimeout(this.typingTimers.get(person));
    this.typingTimers.set(person, setTimeout(() => this.#typingEnded(person), TYPING_MS));
    this.store.changed("presence");
  }

  #typingEnded(person) {
    if (!this.typingTimers.has(person)) return;
    clearTimeout(this.typingTimers.get(person));
    this.typingTimers.delete(person);
    this.store.changed("presence");
  }
}
