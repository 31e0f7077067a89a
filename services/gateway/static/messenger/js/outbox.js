// What was written and is not acknowledged: messages, and edits, deletions and reactions of messages. Each entry is
// written to the disk in the turn in which it is shown, sent after those that it depends on, and repeated until the
// gateway has said what became of it; a message is repeated with the same id, so that it is sent once.

import { post, put, Refused, remove, request } from "./api.js";
import { withoutText, withReaction } from "./message.js";
import { Backoff } from "./backoff.js";
import { dropUnsent, keepUnsent, readUnsent, unsentOf } from "./storage.js";

const FIRST_PAUSE_MS = 1_000, LONGEST_PAUSE_MS = 30_000;

const pathOf = ({ peer, message_id: id }) => `/v1/conversations/${peer}/messages/${id}`;
const reactionOf = ({ peer, message_id: id }) => `/v1/conversations/${peer}/messages/${id}/reaction`;
const REQUESTS = {
  send: ({ id, peer, text, reply_to: quoted }) =>
    post(`/v1/conversations/${peer}/messages`, { text, client_message_id: id, ...(quoted && { reply_to: quoted.message_id }) }),
  edit: (entry) => request("PATCH", pathOf(entry), { body: { text: entry.text } }),
  delete: (entry) => remove(pathOf(entry)),
  react: (entry) => (entry.emoji ? put(reactionOf(entry), { emoji: entry.emoji }) : remove(reactionOf(entry))),
};
// The message is gone, and with it what the entry was about.
const POINTLESS = { react: ["message_deleted", "message_not_found"], delete: ["message_not_found"] };

/**
 * An entry: {id, owner, kind, peer, at, failed: null or {code, errors}, text?, emoji?, reply_to?, attempted?}. A change
 * also has the `message_id` of its message, or before that is sent `send_id`, the id of the entry that sends it.
 */
export class Outbox {
  /** `done(entry, answer, hasArrived)`: the gateway has accepted an entry, perhaps after the live stream had brought it;
      `changed(peer)`: what waits is different. */
  constructor({ owner, done, changed }) {
    this.owner = owner;
    this.done = done;
    this.changed = changed;
    this.waiting = [];
    // The entry whose request is under way.
    this.inFlight = null;
    // The entry whose message or reaction the live stream has brought before the answer to its request.
    this.arrived = null;
    // Ids of entries that are off the disk, or about to be.
    this.settled = new Set();
    // Ids of entries that were written to the disk.
    this.kept = new Set();
    // Ids of messages by those of the entries that sent them.
    this.messageIds = new Map();
    this.working = false;
    this.stopped = false;
    this.backoff = new Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
  }

  /** Takes up what was left, and tries immediately: the gateway answers. */
  async open() {
    const left = (await unsentOf(this.owner)).map((entry) => ({ kind: "send", ...entry }));
    for (const { id } of left) this.kept.add(id);
    const known = new Set([...this.settled, ...this.waiting.map((entry) => entry.id)]);
    this.waiting = [...left.filter((entry) => !known.has(entry.id)), ...this.waiting];
    for (const peer of new Set(left.map((entry) => entry.peer))) this.changed(peer);
    this.backoff.wake();
    this.#work();
  }

  onConnected() {
    this.open();
  }

  stop() {
    this.stopped = true;
    this.backoff.stop();
  }

  /** The messages to a person that are not acknowledged, in order. */
  to(peer) {
    return this.waiting.filter((entry) => entry.kind === "send" && entry.peer === peer && !this.#hasArrived(entry));
  }

  /** Notes a message of the user that the live stream has brought: it is not shown as waiting beside it. */
  noteSent({ user_id: peer, text }) {
    const entry = this.inFlight;
    if (entry?.kind === "send" && entry.peer === peer && entry.text === text) this.arrived = entry;
  }

  /** Notes a reaction of the user that the live stream has brought: the stream has that of the request, or will, and what
      came after it on other devices. */
  noteReacted({ message_id: id }) {
    const entry = this.inFlight;
    if (entry?.kind === "react" && entry.message_id === id) this.arrived = entry;
  }

  #hasArrived(entry) {
    return entry === this.arrived && entry === this.inFlight;
  }

  /** A message, or the entry that sends it, with the changes that wait: `waiting`, whether there are any; `refused`,
      those that the gateway did not accept. */
  applyTo(message) {
    const id = message.message_id ?? message.id;
    const changes = this.waiting.filter((entry) => entry.kind !== "send" && [entry.message_id, entry.send_id].includes(id));
    if (!changes.length) return message;
    let changed = message;
    for (const { kind, text, emoji, failed } of changes) {
      if (failed) continue;
      if (kind === "edit") changed = { ...changed, text };
      else if (kind === "delete") changed = withoutText(changed);
      else changed = { ...changed, reactions: withReaction(changed.reactions, this.owner, emoji) };
    }
    return { ...changed, waiting: changes.some((entry) => !entry.failed), refused: changes.filter((entry) => entry.failed) };
  }

  /** Sends a message; `reply_to` is the message that it answers. */
  send(peer, text, reply_to) {
    return this.#add({ kind: "send", peer, text, reply_to });
  }

  /** Changes the text of a message, or of one that is not sent yet: `target` is {message_id} or {send_id}. */
  async edit(peer, target, text) {
    const unsent = await this.#unattempted(target.send_id);
    if (!unsent) return this.#change("edit", peer, target, { text });
    Object.assign(unsent, { text, failed: null });
    await this.#keep(unsent);
    this.#work();
  }

  async delete(peer, target) {
    if (await this.#unattempted(target.send_id)) return this.discard(target.send_id);
    await this.#change("delete", peer, target, {});
  }

  /** Sets the user's reaction to a message; null takes it back. */
  async react(peer, target, emoji) {
    await this.#change("react", peer, target, { emoji });
  }

  async discard(id) {
    await this.#drop(this.#withChanges(id));
    this.#work();
  }

  async retry(id) {
    const entry = this.waiting.find((entry) => entry.id === id);
    if (!entry) return;
    entry.failed = null;
    await this.#keep(entry);
    this.#work();
  }

  /** A message that the gateway cannot have: it may still be changed where it waits. */
  async #unattempted(id) {
    const isUnattempted = (entry) => entry.id === id && entry.kind === "send" && !entry.attempted && entry !== this.inFlight;
    const entry = this.waiting.find(isUnattempted);
    // One that is gone was sent by another tab.
    if (entry && await this.#reread(entry) === null) entry.attempted = true;
    return this.waiting.find(isUnattempted);
  }

  /** An entry and the changes of the message that it sends. */
  #withChanges(id) {
    return this.waiting.filter((entry) => entry.id === id || entry.send_id === id);
  }

  /** Takes over what another tab has changed in an entry; null where it is gone from the disk. */
  async #reread(entry) {
    const onDisk = this.kept.has(entry.id) ? await readUnsent(entry.id) : undefined;
    if (onDisk) {
      Object.assign(entry, onDisk);
      this.changed(entry.peer);
    }
    return onDisk;
  }

  /** Whether an entry is still to be sent. One that another tab has sent or discarded is dropped, unless the gateway may
      have its message and changes of it wait: they need the message's id, which the same request gets again. */
  async #isStillWaiting(entry) {
    if (await this.#reread(entry) === null) {
      const entries = this.#withChanges(entry.id);
      if (!entry.attempted || entries.length === 1) await this.#drop(entries);
    }
    return this.waiting.includes(entry) && !entry.failed;
  }

  /** Adds a change of a message; it replaces those that it makes pointless. */
  async #change(kind, peer, { message_id, send_id }, content) {
    const change = { kind, peer, send_id, message_id: message_id ?? this.messageIds.get(send_id), ...content };
    const isReplaced = (entry) => entry.kind !== "send" && (entry.kind === kind || kind === "delete") && isSameMessage(entry, change);
    const replaced = this.waiting.filter((entry) => entry !== this.inFlight && isReplaced(entry));
    const added = this.#add(change);
    await this.#drop(replaced);
    await added;
  }

  async #add(content) {
    const entry = { id: crypto.randomUUID?.() ?? fallbackId(), owner: this.owner, at: Date.now(), failed: null, ...content };
    this.waiting.push(entry);
    await this.#keep(entry);
    this.#work();
  }

  async #keep(entry) {
    this.changed(entry.peer);
    await this.#write(entry);
  }

  async #write(entry) {
    if (await keepUnsent(entry)) this.kept.add(entry.id);
  }

  async #drop(entries) {
    for (const { id } of entries) this.settled.add(id);
    this.waiting = this.waiting.filter((entry) => !entries.includes(entry));
    for (const peer of new Set(entries.map((entry) => entry.peer))) this.changed(peer);
    for (const { id } of entries) await dropUnsent(id);
  }

  /** The first entry that may be sent: not a change of a message that is not sent yet, and nothing whose order would be
      broken, which is what comes after a refused entry of the same order. */
  #next() {
    const blocked = new Set();
    for (const entry of this.waiting) {
      const order = orderOf(entry);
      if (entry.kind !== "send" && !entry.message_id) continue;
      if (!entry.failed && !blocked.has(order)) return entry;
      blocked.add(order);
    }
    return undefined;
  }

  async #work() {
    if (this.working) {
      // What was just written does not wait for a long pause of an earlier entry.
      this.backoff.wake();
      return;
    }
    this.working = true;
    for (let entry; !this.stopped && (entry = this.#next()); ) {
      try {
        this.inFlight = entry;
        if (!await this.#isStillWaiting(entry)) continue;
        await this.#noteAttempt(entry);
        const answer = await REQUESTS[entry.kind](entry);
        this.backoff.reset();
        await this.#accepted(entry, answer);
      } catch (error) {
        this.inFlight = this.arrived = null;
        this.changed(entry.peer);
        const refused = error instanceof Refused ? error : new Refused({ code: "other" }, 0);
        if (refused.status === 401) break;
        if (refused.passing) {
          await this.backoff.wait(refused.retryAfter);
        } else if (POINTLESS[entry.kind]?.includes(refused.code)) {
          await this.#drop([entry]);
        } else if (this.waiting.some(({ kind, send_id: id }) => kind === "delete" && id === entry.id)) {
          // The user has deleted the message that the gateway does not take.
          await this.#drop(this.#withChanges(entry.id));
        } else {
          Object.assign(entry, { failed: { code: refused.code, errors: refused.errors }, attempted: false });
          await this.#keep(entry);
        }
      } finally {
        this.inFlight = this.arrived = null;
      }
    }
    this.working = false;
  }

  async #accepted(entry, answer) {
    if (entry.kind === "send") {
      this.messageIds.set(entry.id, answer.message_id);
      for (const change of this.waiting.filter(({ send_id: id }) => id === entry.id)) {
        change.message_id = answer.message_id;
        await this.#write(change);
      }
    }
    this.settled.add(entry.id);
    this.waiting = this.waiting.filter((other) => other !== entry);
    this.done(entry, answer, this.#hasArrived(entry));
    this.changed(entry.peer);
    await dropUnsent(entry.id);
  }

  /** Records, before the request of a message, that the gateway may have it; without a network it has not. */
  async #noteAttempt(entry) {
    if (entry.kind !== "send" || entry.attempted || !navigator.onLine) return;
    entry.attempted = true;
    await this.#write(entry);
  }
}

/** What keeps its order: the messages to a person, the edits and the deletion of a message, the reactions to it. */
function orderOf({ kind, peer, message_id }) {
  return kind === "send" ? peer : kind === "react" ? `reactions to ${message_id}` : message_id;
}

function isSameMessage(first, second) {
  return (first.message_id && first.message_id === second.message_id) || (first.send_id && first.send_id === second.send_id);
}

/** `crypto.randomUUID` is there on https and localhost alone. */
function fallbackId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
