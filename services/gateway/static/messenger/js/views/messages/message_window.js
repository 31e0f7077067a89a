// The rows of a conversation that are in the page: a window of the loaded messages, so that the page stays small.

import { el, fill } from "../../dom.js";
import { MessageRow } from "./message.js";

const MOST_ROWS = 180, STEP = 30;

export class MessageWindow {
  constructor(store, peer, actions) {
    this.store = store;
    this.peer = peer;
    this.actions = actions;
    // Indexes in the loaded messages.
    this.from = 0;
    this.until = 0;
    // The sequence of the first loaded message when the indexes were set.
    this.first = undefined;
    // By sequence.
    this.rows = new Map();
    this.node = el("ol", { class: "messages" });
  }

  get items() {
    return this.store.messages.of(this.peer);
  }

  get isAtStart() {
    return this.from === 0;
  }

  get isAtEnd() {
    return this.until >= this.items.length;
  }

  /** The messages of the window. */
  get messages() {
    return this.items.slice(this.from, this.until);
  }

  nodeOf(sequence) {
    return this.rows.get(sequence)?.node;
  }

  clear() {
    this.from = this.until = 0;
    this.rows.clear();
    fill(this.node);
  }

  /** Sets the window around a message. */
  showIndex(index) {
    this.first = this.items[0].sequence;
    this.from = Math.max(0, index - STEP);
    this.until = Math.min(this.items.length, this.from + MOST_ROWS);
  }

  /** Sets the window's end to the last loaded message. */
  showEnd() {
    this.until = this.items.length;
    this.from = Math.max(0, Math.min(this.from, this.until - 1), this.until - MOST_ROWS);
    if (this.until - this.from < STEP) this.from = Math.max(0, this.until - STEP);
  }

  moveUp() {
    this.from = Math.max(0, this.from - STEP);
    this.until = Math.min(this.until, this.from + MOST_ROWS);
  }

  moveDown() {
    this.until = Math.min(this.items.length, this.until + STEP);
    this.from = Math.max(this.from, this.until - MOST_ROWS);
  }

  /** Moves the indexes where older messages were loaded before the first; cuts them where there are fewer. */
  followItems() {
    const first = this.items[0]?.sequence;
    if (this.first !== first) {
      const moved = this.first && first ? this.first - first : 0;
      this.from += moved;
      this.until += moved;
      this.first = first;
    }
    if (this.until > this.items.length) this.showEnd();
  }

  /** Makes the page hold exactly the rows of the window. */
  draw({ firstUnread }) {
    const { messages } = this;
    const peerSeen = this.store.conversations.get(this.peer)?.peer_seen_sequence ?? 0;
    const nodes = [];
    let before = this.items[this.from - 1];
    for (const message of messages) {
      let row = this.rows.get(message.sequence);
      if (!row) this.rows.set(message.sequence, row = new MessageRow(this.store, this.peer, this.actions));
      row.draw(message, before, { isFirstUnread: message.sequence === firstUnread, peerSeen });
      nodes.push(row.node);
      before = message;
    }
    this.#setChildren(nodes);
    const sequences = new Set(messages.map(({ sequence }) => sequence));
    for (const sequence of this.rows.keys()) if (!sequences.has(sequence)) this.rows.delete(sequence);
  }

  /** A row that stays is not moved: it would lose the focus, and a click that has begun on it. */
  #setChildren(nodes) {
    const kept = new Set(nodes);
    for (const node of [...this.node.children]) if (!kept.has(node)) node.remove();
    let next = this.node.firstElementChild;
    for (const node of nodes) {
      if (node === next) next = next.nextElementSibling;
      else this.node.insertBefore(node, next);
    }
  }
}
