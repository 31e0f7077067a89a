// The loaded messages of each conversation: one dense part of it, which grows at both ends.

import * as api from "../api.js";

const PAGE = 50, FURTHER = 100, RELOADED = 200;
// Messages before the wanted one that are loaded with it.
const CONTEXT = 30;

export class Messages {
  constructor(store) {
    this.store = store;
    // By the other person's id: {items: ascending without a gap, start: whether the first message is among them,
    // restored: whether they are from an earlier visit, so that they may have been changed since}.
    this.byPeer = new Map();
  }

  /** The loaded messages of a conversation. */
  of(peer) {
    return this.byPeer.get(peer)?.items ?? [];
  }

  find(peer, sequence) {
    const items = this.of(peer);
    return items[sequence - items[0]?.sequence];
  }

  /** Whether the first message is among those that are loaded. */
  reachesStart(peer) {
    return this.byPeer.get(peer)?.start ?? false;
  }

  /** Whether the newest message is among those that are loaded. */
  reachesEnd(peer) {
    const newest = this.store.conversations.get(peer)?.last_message?.sequence ?? 0;
    return (this.of(peer).at(-1)?.sequence ?? 0) >= newest;
  }

  entries() {
    return this.byPeer.entries();
  }

  restore(entries) {
    this.byPeer = new Map(entries.map(([peer, items]) => [peer, { items, start: items[0]?.sequence === 1, restored: true }]));
  }

  /** Forgets the messages of conversations that may not be read any more. */
  forgetOthers(isReadable) {
    for (const peer of this.byPeer.keys()) if (!isReadable(peer)) this.byPeer.delete(peer);
  }

  onConnected() {
    return this.#reloadRestored();
  }

  /** Loads the messages of earlier visits again, which may have been edited or deleted while no page was open: no text
      that is gone stays on this device's disk. Those that the gateway does not give are forgotten. */
  async #reloadRestored() {
    for (const [peer, part] of [...this.byPeer]) {
      if (!part.restored || !part.items.length) continue;
      if (this.store.closed) return;
      let items = null;
      try {
        ({ items } = await this.#load(peer, `limit=${part.items.length}&after=${part.items[0].sequence - 1}`));
      } catch (error) {
        // The next connection checks the rest.
        if (error.offline) return;
      }
      // It may have been opened meanwhile.
      if (this.byPeer.get(peer) !== part) continue;
      if (items) this.byPeer.set(peer, { items, start: part.start });
      else this.byPeer.delete(peer);
      this.store.changed("messages", peer);
    }
  }

  /** Loads the newest page, and joins it to what is loaded where the two meet. */
  async openNewest(peer) {
    const page = await this.#load(peer, `limit=${PAGE}`);
    const items = page.items.reverse();
    const last = this.#current(peer).at(-1)?.sequence;
    if (last && items.length && items[0].sequence <= last + 1) this.#join(peer, items);
    else this.byPeer.set(peer, { items, start: page.next === null });
    this.store.changed("messages", peer);
  }

  /** Loads the part around a message, unless what is loaded reaches it. */
  async openAt(peer, sequence) {
    const known = this.#current(peer);
    if (known.length && known[0].sequence < sequence && sequence <= known.at(-1).sequence + 1) {
      await this.loadNewer(peer);
    } else {
      const after = Math.max(0, sequence - 1 - CONTEXT);
      const { items } = await this.#load(peer, `limit=${FURTHER}&after=${after}`);
      this.byPeer.set(peer, { items, start: after === 0 });
    }
    this.store.changed("messages", peer);
  }

  /** Loads one page further towards the newest message; false where nothing came. */
  async loadNewer(peer) {
    const part = this.byPeer.get(peer);
    if (!part || this.reachesEnd(peer)) return false;
    const before = part.items.length;
    part.newer ??= this.#load(peer, `limit=${FURTHER}&after=${part.items.at(-1)?.sequence ?? 0}`)
      .then((page) => {
        // The live stream may be ahead of the read model by one.
        const newest = this.store.conversations.get(peer)?.last_message;
        for (const message of [...page.items, ...(newest ? [newest] : [])]) {
          if (message.sequence === (part.items.at(-1)?.sequence ?? 0) + 1) part.items.push(message);
        }
      }).finally(() => { part.newer = null; });
    await part.newer;
    return part.items.length > before;
  }

  /** Loads one page further into the past; false where there is nothing more. */
  async loadOlder(peer) {
    const part = this.byPeer.get(peer);
    if (!part || part.start || !part.items.length) return false;
    part.older ??= this.#load(peer, `limit=${FURTHER}&before=${part.items[0].sequence}`)
      .then((page) => {
        const first = part.items[0].sequence;
        part.items = [...page.items.reverse().filter((message) => message.sequence < first), ...part.items];
        part.start = page.next === null;
      }).finally(() => { part.older = null; });
    await part.older;
    return true;
  }

  /** Loads the same parts of all conversations again, as far as one answer goes. */
  async reload() {
    await Promise.all([...this.byPeer.keys()].map((peer) => this.#reload(peer).catch(() => {})));
  }

  async #reload(peer) {
    const first = this.of(peer)[0]?.sequence;
    if (!first) return this.openNewest(peer);
    const { items } = await this.#load(peer, `limit=${RELOADED}&after=${first - 1}`);
    this.byPeer.set(peer, { items, start: first === 1 });
    this.store.changed("messages", peer);
  }

  /** Adds the next message. After a gap nothing is added: the part ends before the newest message until that is loaded. */
  add(peer, message) {
    const items = this.byPeer.get(peer)?.items;
    if (items && message.sequence === (items.at(-1)?.sequence ?? 0) + 1) items.push(message);
  }

  /** Updates a message after a change of it, where it is loaded. */
  applyChanges(peer, messageId) {
    const items = this.of(peer), index = items.findIndex((message) => message.message_id === messageId);
    if (index >= 0) items[index] = this.store.messageChanges.applyTo(items[index]);
    // And what quotes it.
    items.forEach((message, at) => {
      const { reply_to: quote } = message;
      if (quote?.message_id === messageId) items[at] = { ...message, reply_to: this.store.messageChanges.applyToQuote(quote) };
    });
  }

  /** Updates all loaded messages of a conversation, when the other person's account was deleted. */
  applyAllChanges(peer) {
    const part = this.byPeer.get(peer), { messageChanges } = this.store;
    if (part) part.items = part.items.map((message) => messageChanges.applyTo(message));
  }

  /** The loaded messages that are as they are now. */
  #current(peer) {
    return this.byPeer.get(peer)?.restored ? [] : this.of(peer);
  }

  /** Adds the messages of a page, or puts them in the place of those that are loaded. */
  #join(peer, messages) {
    const items = this.of(peer);
    for (const message of messages) {
      const index = message.sequence - items[0].sequence;
      if (index >= 0 && index <= items.length) items[index] = message;
    }
  }

  async #load(peer, query) {
    const page = await api.get(`/v1/conversations/${peer}/messages?${query}`);
    return { ...page, items: page.items.map((message) => this.store.messageChanges.applyTo(message)) };
  }
}
