// The messages of a conversation, scrolled. It opens at the first unread message; what was on the screen has been read.
// The window of rows moves as one scrolls, while the row at the top of the screen stays where it is.

import { el } from "../../dom.js";
import { t } from "../../i18n.js";
import { JumpButton } from "./jump_button.js";
import { listenToGestures } from "./message_gestures.js";
import { MessageWindow } from "./message_window.js";
import { UnsentMessages } from "./unsent_messages.js";

// Pixels from an end of the window at which it is moved.
const NEAR = 900;
const AT_BOTTOM = 40;
// Where the first unread message appears, as a part of the height.
const FIRST_UNREAD_AT = 0.25;
// Pixels of a message that may be missing when it counts as read.
const HIDDEN = 8;
// How long a message that was jumped to is marked.
const MARKED_MS = 2_000;

export class MessageList {
  /** `actions`: what can be done to a message; `failed(error)` is called where the messages cannot be loaded. */
  constructor(store, peer, { actions, failed }) {
    this.store = store;
    this.peer = peer;
    this.failed = failed;
    // Whether the newest message is in view, and the next one will be.
    this.following = true;
    // The sequence of the first message that was unread when the conversation was opened.
    this.firstUnread = null;
    // Whether the conversation is shown, and whether it is known where it begins: before that nothing is drawn or read.
    this.opened = false;
    this.positioned = false;
    // Whether what is shown could not be loaded, and may be out of date.
    this.outdated = false;
    this.window = new MessageWindow(store, peer, actions);
    this.beginning = el("p", { class: "soft beginning", hidden: true }, t("beginning"));
    this.unsent = new UnsentMessages(store, peer, actions);
    this.log = el("div", { class: "log", role: "log", tabindex: "0", aria: { live: "off" }, onscroll: () => this.#scrolled() },
      this.beginning, this.window.node, this.unsent.node);
    listenToGestures(this.log);
    // The newest message stays in view where a keyboard, or a bar of the composer, takes some of the height.
    this.resizing = new ResizeObserver(() => { if (this.positioned && this.following && !document.hidden) this.log.scrollTop = this.log.scrollHeight; });
    this.resizing.observe(this.log);
    this.jump = new JumpButton(() => this.showNewest());
    this.node = el("div", { class: "stage", hidden: true }, this.log, this.jump.node);
  }

  setHidden(hidden) {
    this.node.hidden = hidden;
    if (hidden) {
      this.positioned = false;
      this.window.clear();
    } else if (!this.opened) {
      this.opening = this.#open();
    }
    this.opened = !hidden;
    if (this.opened && this.wanted) {
      this.jumpTo(this.wanted);
      this.wanted = null;
    }
  }

  close() {
    this.closed = true;
    this.resizing.disconnect();
    cancelAnimationFrame(this.drawing);
  }

  update(kind) {
    if (kind === "visible" && this.positioned && this.following && !document.hidden && this.#findFirstUnread()) {
      // What came while the page was hidden is read from its beginning.
      this.firstUnread = this.#findFirstUnread();
      this.#showFirstUnread();
    }
    if (kind === "connection" && this.store.connected && this.outdated) this.#load();
    if (["messages", "conversations", "profile", "visible"].includes(kind)) {
      this.drawing ??= requestAnimationFrame(() => {
        this.drawing = null;
        this.#draw();
      });
    }
  }

  /** Shows the newest messages, however far they are. */
  async showNewest() {
    const { messages } = this.store;
    if (!messages.reachesEnd(this.peer)) await messages.openNewest(this.peer).catch(() => {});
    if (!this.closed) this.#showEnd();
  }

  /** Shows a message in the middle and marks it for a moment; loads the part around it where it is not loaded. */
  async jumpTo(sequence) {
    // Whether the two are friends is not known yet.
    if (!this.opened) {
      this.wanted = sequence;
      return;
    }
    await this.opening;
    if (this.#indexOf(sequence) < 0) await this.store.messages.openAt(this.peer, sequence).catch((error) => this.failed(error));
    const index = this.#indexOf(sequence);
    if (this.closed || index < 0) return;
    this.following = false;
    if (!this.window.nodeOf(sequence)) this.window.showIndex(index);
    this.positioned = true;
    this.#draw();
    const node = this.window.nodeOf(sequence), { top, height } = node.getBoundingClientRect();
    this.log.scrollTop += top - this.log.getBoundingClientRect().top - (this.log.clientHeight - height) / 2;
    this.#scrolled();
    node.focus({ preventScroll: true });
    node.dataset.marked = "";
    setTimeout(() => { delete node.dataset.marked; }, MARKED_MS);
  }

  /** Finds where to begin, in what is known already or else in what is loaded. */
  async #open() {
    const { conversations, friends } = this.store;
    await conversations.listed;
    if (this.closed || friends.relationship(this.peer) !== "accepted") return;
    this.firstUnread = this.#findFirstUnread();
    if (!this.firstUnread || this.#indexOf(this.firstUnread) >= 0) this.#showFirstUnread();
    await this.#load();
  }

  async #load() {
    const { friends, messages } = this.store;
    try {
      await (this.firstUnread ? messages.openAt(this.peer, this.firstUnread) : messages.openNewest(this.peer));
      this.outdated = false;
    } catch (error) {
      // The list of friends is behind: the next one says what they are now.
      if (error.code === "not_friends") return friends.load().catch(() => {});
      this.outdated = error.passing;
      if (!error.passing) this.failed(error);
    }
    if (!this.opened) return;
    if (!this.positioned) this.#showFirstUnread();
    else this.#draw();
  }

  #findFirstUnread() {
    const conversation = this.store.conversations.get(this.peer);
    return conversation?.unread_count > 0 ? conversation.seen_sequence + 1 : null;
  }

  /** The index of a sequence in the loaded messages; -1 where it is not among them. */
  #indexOf(sequence) {
    return this.window.items.findIndex((message) => message.sequence === sequence);
  }

  /** Shows the first unread message with some of what was before it, or the end where all of it fits. */
  #showFirstUnread() {
    if (this.closed) return;
    const index = this.firstUnread ? this.#indexOf(this.firstUnread) : -1;
    if (index < 0) return this.#showEnd();
    this.following = false;
    this.window.showIndex(index);
    this.#drawWindow();
    const above = this.window.nodeOf(this.firstUnread).getBoundingClientRect().top - this.log.getBoundingClientRect().top;
    const { scrollTop, scrollHeight, clientHeight } = this.log;
    const allFit = this.window.isAtEnd && scrollHeight - scrollTop - above <= clientHeight;
    this.log.scrollTop = allFit ? scrollHeight : scrollTop + above - clientHeight * FIRST_UNREAD_AT;
    this.positioned = true;
    this.#draw();
    this.#scrolled();
  }

  #showEnd() {
    this.positioned = true;
    this.following = true;
    this.#draw();
    this.log.scrollTop = this.log.scrollHeight;
  }

  #draw() {
    if (!this.positioned || this.closed) return;
    this.window.followItems();
    if (this.following) this.window.showEnd();
    this.#drawWindow();
    this.unsent.draw();
    // While the page is hidden it stays where it is: what comes is not passed over.
    if (this.following && !document.hidden) this.log.scrollTop = this.log.scrollHeight;
    this.#drawJump();
    this.#markRead();
    if (this.following && !this.store.messages.reachesEnd(this.peer)) this.#moveDown();
  }

  #drawWindow() {
    this.window.draw({ firstUnread: this.firstUnread });
    this.beginning.hidden = !(this.store.messages.reachesStart(this.peer) && this.window.isAtStart);
  }

  #drawJump() {
    this.jump.draw({ hidden: this.following, unread: this.store.conversations.get(this.peer)?.unread_count ?? 0 });
  }

  #scrolled() {
    if (!this.positioned) return;
    const { log, window } = this, isEnd = window.isAtEnd && this.store.messages.reachesEnd(this.peer);
    const below = log.scrollHeight - log.scrollTop - log.clientHeight;
    this.following = below < AT_BOTTOM && isEnd;
    if (log.scrollTop < NEAR) this.#moveUp();
    else if (below < NEAR && !isEnd) this.#moveDown();
    this.#markRead();
    this.#drawJump();
  }

  /** Moves the window into the past, and loads what is missing. */
  async #moveUp() {
    if (this.moving) return;
    this.moving = true;
    try {
      if (this.window.isAtStart) {
        if (!await this.store.messages.loadOlder(this.peer)) return;
        this.window.followItems();
      }
      if (!this.window.isAtStart) this.#moveSteadily(() => this.window.moveUp());
    } catch { /* the next scroll tries again */
    } finally {
      this.moving = false;
    }
  }

  /** Moves the window towards the newest message, and loads what is missing up to it. */
  async #moveDown() {
    if (this.moving) return;
    this.moving = true;
    try {
      if (this.window.isAtEnd && !await this.store.messages.loadNewer(this.peer)) return;
      if (this.closed || this.window.isAtEnd) return;
      this.#moveSteadily(() => this.window.moveDown());
    } catch { /* the next scroll tries again */
    } finally {
      this.moving = false;
    }
    this.#draw();
  }

  /** Moves the window while a row that stays in it keeps its place on the screen. */
  #moveSteadily(move) {
    const top = this.log.getBoundingClientRect().top;
    const anchor = [...this.window.node.children].find((row) => row.getBoundingClientRect().bottom > top);
    const before = anchor?.getBoundingClientRect().top;
    move();
    this.#drawWindow();
    if (anchor?.isConnected) this.log.scrollTop += anchor.getBoundingClientRect().top - before;
  }

  /** What is on the screen has been read: the last message whose end is there, or that fills all of it. */
  #markRead() {
    if (document.hidden || !this.positioned) return;
    const { top, bottom } = this.log.getBoundingClientRect();
    for (const { sequence } of this.window.messages.reverse()) {
      const row = this.window.nodeOf(sequence)?.getBoundingClientRect();
      if (!row || !row.height) continue;
      if (row.bottom <= top) return;
      if (row.bottom <= bottom + HIDDEN || row.top <= top) return this.store.readMarks.mark(this.peer, sequence);
    }
  }
}
