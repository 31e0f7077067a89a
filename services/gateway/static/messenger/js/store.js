// What the messenger knows: conversations, messages, people, notifications. Views listen to it and draw; the live
// stream, the outbox and the answers of requests change it. Data flows one way.

import * as api from "./api.js";
import { keepSeen, seen } from "./storage.js";
import { Drafts } from "./drafts.js";
import { Live } from "./live.js";
import { Outbox } from "./outbox.js";
import { Pauses } from "./pauses.js";

const PAGE = 50;
const PROFILES_AT_ONCE = 6;
const FIRST_PAUSE_MS = 500, LONGEST_PAUSE_MS = 15_000;
const KEPT_MESSAGES = 50;
const MOST_NOTIFICATIONS = 100;
const MOST_FRIENDS = 10_000;
const KEEP_AFTER_MS = 1_000;
const SAY_PAUSE_MS = 250, SAY_AGAIN_MS = 3_000;
// Messages in front of the first unread one that are loaded with it, and how many are loaded further on.
const CONTEXT = 30, FURTHER = 100;

/** A conversation as a list has it, unless the live stream was ahead of the read model: marks and messages only grow. */
function newer(known, found) {
  if (!known) return found;
  const ahead = (known.last_message?.sequence ?? 0) > (found.last_message?.sequence ?? 0);
  const last_message = ahead ? known.last_message : found.last_message;
  const seen_sequence = Math.max(known.seen_sequence, found.seen_sequence);
  return {
    ...found, last_message, seen_sequence,
    peer_seen_sequence: Math.max(known.peer_seen_sequence, found.peer_seen_sequence),
    unread_count: Math.max(0, (last_message?.sequence ?? 0) - seen_sequence),
  };
}

/** The order of notifications in a list. */
function newestFirst(one, other) {
  return other.at.localeCompare(one.at) || other.notification_id.localeCompare(one.notification_id);
}

export class Store extends EventTarget {
  constructor(me) {
    super();
    this.me = me;
    // By the other person's id: {user_id, conversation_id, last_message, unread_count, seen_sequence, peer_seen_sequence}.
    this.conversations = new Map();
    // By the other person's id: {items: a dense and ascending part, start: whether the first message is among them}.
    this.threads = new Map();
    this.profiles = new Map();
    this.friends = { accepted: [], incoming: [], outgoing: [] };
    this.friendsKnown = false;
    // Whether the gateway could not be reached at the beginning.
    this.unreached = false;
    // Counts the loads of friends: only the last one's answer is taken.
    this.askedFriends = 0;
    this.notifications = [];
    // Loads of notifications in progress, each with what the live stream and this page have changed since it began.
    this.notificationLoads = new Set();
    this.notificationLoadsBegun = 0;
    this.notificationLoadApplied = 0;
    // By the other person's id: how far was seen and the gateway does not know yet.
    this.unsaid = new Map();
    this.saying = new Set();
    this.connected = false;
    this.ready = false;
    this.wanted = new Set();
    this.fetching = new Set();
    // Ids without a profile: asked for once per connection.
    this.unknown = new Set();
    this.resting = null;
    this.following = new Pauses(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
    this.profiling = new Pauses(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
    this.outbox = new Outbox({
      owner: me.user_id,
      sent: (message, answer) => this.#sent(message, answer),
      changed: (peer) => this.#tell("thread", peer),
    });
    this.drafts = new Drafts({
      owner: me.user_id,
      changed: (peer) => {
        this.#tell("thread", peer);
        this.#tell("conversations");
      },
    });
    this.live = this.#line();
    // Resolves when the list of conversations was loaded, or could not be for now.
    this.listed = new Promise((resolve) => { this.triedList = resolve; });
  }

  /** Shows what was kept, then loads what there is, then follows. */
  async open() {
    await this.#recall();
    await this.outbox.open();
    this.#follow();
  }

  close() {
    this.closed = true;
    this.live.stop();
    this.outbox.stop();
    this.drafts.stop();
    this.following.stop();
    this.profiling.stop();
    clearTimeout(this.keeping);
  }

  get unread() {
    return [...this.conversations.values()].reduce((sum, one) => sum + one.unread_count, 0);
  }

  /** Conversations, the one with the newest message first; one without messages stands where it was opened. */
  get ordered() {
    const opened = new Map(this.friends.accepted.map((one) => [one.user_id, one.since]));
    const newest = (one) => this.outbox.to(one.user_id).at(-1)?.at ?? Date.parse(one.last_message?.sent_at ?? opened.get(one.user_id) ?? 0);
    return [...this.conversations.values()].sort((one, other) => newest(other) - newest(one));
  }

  /** Somebody's profile; if it is not known yet, `profile` is told when it is. */
  profile(userId) {
    const known = this.profiles.get(userId);
    if (!known && !this.wanted.has(userId) && !this.unknown.has(userId)) {
      this.wanted.add(userId);
      this.#fetchProfiles();
    }
    return known;
  }

  nameOf(userId) {
    const profile = this.profile(userId);
    return profile ? profile.display_name || profile.username : "…";
  }

  remember(...profiles) {
    for (const profile of profiles) {
      this.profiles.set(profile.user_id, profile);
      this.wanted.delete(profile.user_id);
    }
    this.#tell("profile");
    this.#keepSoon();
  }

  async loadConversations(since = null) {
    const before = new Set(this.conversations.keys());
    const { items, position } = await api.all("/v1/conversations", { since });
    const listed = items.map((one) => [one.user_id, newer(this.conversations.get(one.user_id), one)]);
    // What was begun while the list was on its way is not in it; what was there before and is no more has been closed.
    const begun = [...this.conversations].filter(([peer]) => !before.has(peer));
    this.conversations = new Map([...begun, ...listed]);
    this.ready = true;
    this.#tell("conversations");
    this.#keepSoon();
    return position;
  }

  async loadFriends(since = null) {
    const turn = ++this.askedFriends;
    const [accepted, incoming, outgoing] = await Promise.all(
      ["accepted", "incoming", "outgoing"].map((state) => api.all(`/v1/friends?state=${state}`, { most: MOST_FRIENDS, since })));
    if (turn !== this.askedFriends) return;
    this.friends = { accepted: accepted.items, incoming: incoming.items, outgoing: outgoing.items };
    this.friendsKnown = true;
    for (const peer of this.threads.keys()) if (this.standing(peer) !== "accepted") this.threads.delete(peer);
    this.#tell("friends");
  }

  /** What somebody is to oneself: `self`, `accepted`, `incoming`, `outgoing`, `none`, `unknown` (there is no such
      person), or null while that was not loaded; `accepted` where it cannot be loaded for now. */
  standing(userId) {
    if (userId === this.me.user_id) return "self";
    if (!this.friendsKnown) return this.unreached || this.conversations.has(userId) ? "accepted" : null;
    const found = ["accepted", "incoming", "outgoing"].find((state) => this.friends[state].some((one) => one.user_id === userId));
    return found ?? (this.unknown.has(userId) ? "unknown" : "none");
  }

  /** Loads the newest notifications; changes that happened in the meantime are applied to what was loaded. */
  async loadNotifications() {
    const load = { number: ++this.notificationLoadsBegun, changes: [] };
    this.notificationLoads.add(load);
    try {
      const { items } = await api.get(`/v1/notifications?limit=${MOST_NOTIFICATIONS}`);
      // The answer of a load that began later is newer.
      if (load.number < this.notificationLoadApplied) return;
      this.notificationLoadApplied = load.number;
      this.notifications = items;
    } finally {
      this.notificationLoads.delete(load);
    }
    for (const change of load.changes) change();
    for (const conversation of this.conversations.values()) this.#readMessages(conversation);
    this.#tell("notifications");
  }

  async readNotification(id) {
    await api.post("/v1/notifications/read", { notification_ids: [id] });
    this.#readElsewhere({ notification_ids: [id] });
  }

  /** All that are listed. */
  async readAllNotifications() {
    const up_to = this.notifications[0]?.notification_id;
    if (!up_to) return;
    await api.post("/v1/notifications/read", { up_to });
    await this.loadNotifications();
  }

  async befriend(userId) {
    await api.put(`/v1/friends/${userId}`);
    await this.#friendsChanged();
  }

  async unfriend(userId) {
    await api.remove(`/v1/friends/${userId}`);
    await this.#friendsChanged();
  }

  /** Loads a thread's newest page, and joins it to what is known where the two meet. */
  async openThread(peer) {
    const page = await api.get(`/v1/conversations/${peer}/messages?limit=${PAGE}`);
    const items = page.items.reverse();
    const last = this.threads.get(peer)?.items.at(-1)?.sequence;
    if (last && items.length && items[0].sequence <= last + 1) this.#join(peer, items);
    else this.threads.set(peer, { items, start: page.next === null });
    this.#tell("thread", peer);
    this.#keepSoon();
  }

  /** Loads a thread around one of its messages, unless what is known reaches it. */
  async openThreadAt(peer, sequence) {
    const known = this.threads.get(peer)?.items ?? [];
    if (known.length && known[0].sequence < sequence && sequence <= known.at(-1).sequence + 1) {
      await this.loadNewer(peer);
    } else {
      const after = Math.max(0, sequence - 1 - CONTEXT);
      const { items } = await api.get(`/v1/conversations/${peer}/messages?limit=${FURTHER}&after=${after}`);
      this.threads.set(peer, { items, start: after === 0 });
    }
    this.#tell("thread", peer);
    this.#keepSoon();
  }

  /** Loads the same part of a thread once more, as far as one answer goes. */
  async #reloadThread(peer) {
    const first = this.threads.get(peer).items[0]?.sequence;
    if (!first) return this.openThread(peer);
    const { items } = await api.get(`/v1/conversations/${peer}/messages?limit=200&after=${first - 1}`);
    this.threads.set(peer, { items, start: first === 1 });
    this.#tell("thread", peer);
  }

  /** Whether the newest message is in the part of the thread that is loaded. */
  reachesEnd(peer) {
    const newest = this.conversations.get(peer)?.last_message?.sequence ?? 0;
    return (this.threads.get(peer)?.items.at(-1)?.sequence ?? 0) >= newest;
  }

  /** One page further towards the newest message; false where nothing came. */
  async loadNewer(peer) {
    const thread = this.threads.get(peer);
    if (!thread || this.reachesEnd(peer)) return false;
    const before = thread.items.length;
    thread.newer ??= api.get(`/v1/conversations/${peer}/messages?limit=${FURTHER}&after=${thread.items.at(-1)?.sequence ?? 0}`)
      .then((page) => {
        // The live stream may be ahead of the read model by one.
        const newest = this.conversations.get(peer)?.last_message;
        for (const one of [...page.items, ...(newest ? [newest] : [])]) {
          if (one.sequence === (thread.items.at(-1)?.sequence ?? 0) + 1) thread.items.push(one);
        }
      }).finally(() => { thread.newer = null; });
    await thread.newer;
    return thread.items.length > before;
  }

  /** One page further into the past; false where there is nothing more. */
  async loadOlder(peer) {
    const thread = this.threads.get(peer);
    if (!thread || thread.start || !thread.items.length) return false;
    thread.older ??= api.get(`/v1/conversations/${peer}/messages?limit=${FURTHER}&before=${thread.items[0].sequence}`)
      .then((page) => {
        const known = thread.items[0].sequence;
        thread.items = [...page.items.reverse().filter((one) => one.sequence < known), ...thread.items];
        thread.start = page.next === null;
      }).finally(() => { thread.older = null; });
    await thread.older;
    return true;
  }

  /** Everything up to here was on the screen. */
  markSeen(peer, sequence) {
    const conversation = this.conversations.get(peer);
    if (!conversation || sequence <= conversation.seen_sequence) return;
    conversation.seen_sequence = sequence;
    conversation.unread_count = Math.max(0, (conversation.last_message?.sequence ?? sequence) - sequence);
    this.#readMessages(conversation);
    this.#tell("conversations");
    this.unsaid.set(peer, sequence);
    this.#say(peer);
  }

  /** Sends how far was seen: one request at a time for each person, so that scrolling makes few of them. */
  async #say(peer) {
    if (this.saying.has(peer)) return;
    this.saying.add(peer);
    try {
      while (this.unsaid.has(peer) && !this.closed) {
        const sequence = this.unsaid.get(peer);
        await api.put(`/v1/conversations/${peer}/seen`, { sequence }).catch((error) => { if (error.passing) throw error; });
        if (this.unsaid.get(peer) === sequence) this.unsaid.delete(peer);
        await new Promise((resolve) => { setTimeout(resolve, SAY_PAUSE_MS); });
      }
    } catch {
      setTimeout(() => this.connected && !this.closed && this.#say(peer), SAY_AGAIN_MS);
    } finally {
      this.saying.delete(peer);
    }
  }

  #line() {
    return new Live({
      take: (kind, data, position) => this.#take(kind, data, position),
      state: (on) => this.#connected(on),
      anew: () => this.#loadAnew(),
    });
  }

  /** Everything that is shown, and the position behind it. */
  async #loadAnew() {
    const position = await this.loadConversations();
    const threads = [...this.threads.keys()].map((peer) => this.#reloadThread(peer).catch(() => {}));
    await Promise.all([this.loadFriends(), this.loadNotifications(), ...threads]);
    return position;
  }

  async #follow() {
    while (!this.closed) {
      try {
        // The stream goes on from where the list ends: nothing falls between the two.
        this.live.run(await this.loadConversations());
        this.triedList();
        await Promise.all([this.loadFriends(), this.loadNotifications(), this.#loadMe()]);
        return;
      } catch (error) {
        this.triedList();
        this.live.stop();
        // The session is over; whatever else was wrong may be right at a later try.
        if (error.status === 401) return;
        this.unreached = true;
        this.#tell("friends");
        this.#connected(false);
        this.live = this.#line();
        await this.following.wait(error.retryAfter);
      }
    }
  }

  async #loadMe() {
    this.remember(await api.get("/v1/profiles/me"));
  }

  #connected(on) {
    if (this.connected === on) return;
    this.connected = on;
    this.#tell("connection");
    if (!on) return;
    this.unknown.clear();
    this.profiling.wake();
    this.outbox.open();
    for (const peer of this.unsaid.keys()) this.#say(peer);
  }

  #take(kind, data, position) {
    if (kind === "message.sent") this.#arrived(data);
    else if (kind === "message.seen") this.#seen(data);
    else if (kind.startsWith("friendship.")) this.#friendsChanged(position);
    else if (kind === "profile.updated") this.remember(data);
    else if (kind === "notification.created") this.#notified(data);
    else if (kind === "notification.read") this.#readElsewhere(data);
    else if (kind === "session.revoked") this.#revoked(data);
  }

  /** The stream tells the end of all of one's sessions; that of another device is its own affair. */
  #revoked(data) {
    if (data.session_id === api.who()?.session_id) this.dispatchEvent(new CustomEvent("ended", { detail: data }));
    else this.#tell("sessions");
  }

  #arrived(data) {
    const message = { message_id: data.message_id, sequence: data.sequence, sender_id: data.sender_id, text: data.text, sent_at: data.sent_at };
    this.#put(data.user_id, data.conversation_id, message);
  }

  #sent(message, answer) {
    this.#put(message.peer, answer.conversation_id, {
      message_id: answer.message_id, sequence: answer.sequence, sender_id: answer.sender_id, text: answer.text, sent_at: answer.sent_at,
    });
  }

  /** One message, from wherever: the stream and the answer to sending both bring it. */
  #put(peer, conversationId, message) {
    const conversation = this.conversations.get(peer) ?? {
      user_id: peer, conversation_id: conversationId, last_message: null, unread_count: 0, seen_sequence: 0, peer_seen_sequence: 0,
    };
    this.conversations.set(peer, conversation);
    if (message.sequence > (conversation.last_message?.sequence ?? 0)) conversation.last_message = message;
    // Writing counts as having seen.
    if (message.sender_id === this.me.user_id) conversation.seen_sequence = Math.max(conversation.seen_sequence, message.sequence);
    else conversation.peer_seen_sequence = Math.max(conversation.peer_seen_sequence, message.sequence);
    conversation.unread_count = Math.max(0, conversation.last_message.sequence - conversation.seen_sequence);
    this.#readMessages(conversation);
    if (this.threads.has(peer)) this.#join(peer, [message]);
    this.#tell("conversations");
    this.#tell("thread", peer);
    this.#keepSoon();
  }

  /** Adds what is new. Behind a gap nothing is added: the thread ends before the newest message until that is loaded. */
  #join(peer, items) {
    const thread = this.threads.get(peer);
    for (const message of items) {
      const last = thread.items.at(-1)?.sequence ?? 0;
      if (message.sequence > last + 1) return;
      if (message.sequence === last + 1) thread.items.push(message);
      else {
        const place = message.sequence - thread.items[0]?.sequence;
        if (place >= 0 && place < thread.items.length) thread.items[place] = { ...thread.items[place], ...message };
      }
    }
  }

  #seen({ conversation_id: id, user_id: reader, sequence }) {
    const conversation = [...this.conversations.values()].find((one) => one.conversation_id === id);
    if (!conversation) return;
    const mark = reader === this.me.user_id ? "seen_sequence" : "peer_seen_sequence";
    conversation[mark] = Math.max(conversation[mark], sequence);
    conversation.unread_count = Math.max(0, (conversation.last_message?.sequence ?? 0) - conversation.seen_sequence);
    this.#readMessages(conversation);
    this.#tell("conversations");
    this.#tell("thread", conversation.user_id);
  }

  /** The notifications of messages are read with them. */
  #readMessages({ user_id: peer, seen_sequence: seen, unread_count: unread, last_message: last }) {
    // A notification may be here before its message.
    const until = unread ? this.threads.get(peer)?.items.find((one) => one.sequence === seen)?.sent_at : last?.sent_at;
    const read = this.notifications.filter((one) => !one.read && one.kind === "message" && one.from_user_id === peer && one.at <= (until ?? ""));
    for (const one of read) one.read = true;
    if (read.length) this.#tell("notifications");
  }

  /** Loads what a friendship changes, as it is once the event of the position has happened. */
  async #friendsChanged(since = null) {
    try {
      // The friends last: when a chat opens with them, the conversation is open too.
      await Promise.all([this.loadConversations(since), this.loadNotifications()]);
      await this.loadFriends(since);
    } catch { /* the next event, or the next connection, loads them */ }
  }

  /** Changes the list of notifications now, and once more when a load that has begun replaces it. */
  #changeNotifications(change) {
    for (const load of this.notificationLoads) load.changes.push(change);
    change();
    this.#tell("notifications");
  }

  /** Adds a notification where it is listed: newest first. */
  #notified(notification) {
    this.#changeNotifications(() => {
      if (this.notifications.some((one) => one.notification_id === notification.notification_id)) return;
      this.notifications = [notification, ...this.notifications].sort(newestFirst).slice(0, MOST_NOTIFICATIONS);
    });
    const from = this.conversations.get(notification.from_user_id);
    if (from) this.#readMessages(from);
  }

  #readElsewhere({ notification_ids: ids, up_to }) {
    this.#changeNotifications(() => {
      const through = this.notifications.findIndex((one) => one.notification_id === up_to);
      this.notifications.forEach((one, index) => {
        if (ids.includes(one.notification_id) || (through >= 0 && index >= through)) one.read = true;
      });
    });
  }

  /** Fetches what is wanted, a few at a time; after a failure none before the pause is over. */
  #fetchProfiles() {
    for (const userId of this.wanted) {
      if (this.closed || this.resting || this.fetching.size >= PROFILES_AT_ONCE) return;
      if (!this.fetching.has(userId)) this.#fetchProfile(userId);
    }
  }

  async #fetchProfile(userId) {
    this.fetching.add(userId);
    try {
      this.profiles.set(userId, await api.profile(userId));
      this.wanted.delete(userId);
      this.profiling.reset();
      this.#tellSoon();
    } catch (error) {
      if (error.passing) {
        this.resting ??= this.profiling.wait(error.retryAfter).then(() => { this.resting = null; });
        await this.resting;
      } else {
        this.wanted.delete(userId);
        this.unknown.add(userId);
        this.#tellSoon();
      }
    } finally {
      this.fetching.delete(userId);
    }
    this.#fetchProfiles();
  }

  #tellSoon() {
    this.telling ??= setTimeout(() => {
      this.telling = null;
      this.#tell("profile");
      this.#keepSoon();
    }, 60);
  }

  #tell(kind, detail) {
    if (!this.closed) this.dispatchEvent(new CustomEvent(kind, { detail }));
  }

  async #recall() {
    const kept = await seen(this.me.user_id);
    if (!kept) return;
    this.conversations = new Map(kept.conversations.map((one) => [one.user_id, one]));
    this.profiles = new Map(kept.profiles.map((one) => [one.user_id, one]));
    this.threads = new Map(kept.threads.map(([peer, items]) => [peer, { items, start: items[0]?.sequence === 1 }]));
    this.ready = this.conversations.size > 0;
    this.#tell("conversations");
    this.#tell("profile");
  }

  #keepSoon() {
    this.keeping ??= setTimeout(() => {
      this.keeping = null;
      keepSeen(this.me.user_id, {
        conversations: [...this.conversations.values()],
        profiles: [...this.profiles.values()].slice(-500),
        threads: [...this.threads].slice(-20).map(([peer, thread]) => [peer, thread.items.slice(-KEPT_MESSAGES)]),
      });
    }, KEEP_AFTER_MS);
  }
}
