// One conversation. However long it is, only a window of it is in the page: rows beyond are taken out as one scrolls,
// and the row under the eye stays where it is. It opens at the first unread message; what was on the screen is seen.

import { avatar, el, fill, icon } from "../dom.js";
import { clock, day, full, reason, t } from "../i18n.js";
import { linked } from "../links.js";
import { befriending } from "./befriending.js";

const MOST_ROWS = 180, STEP = 30;
// Characters of a message, counted as the gateway counts them: by code points.
const MOST_CHARACTERS = 4000;
// Pixels from an end of the window at which it is moved on.
const NEAR = 900;
const AT_BOTTOM = 40;
// Where the first unread message appears, as a part of the height.
const FIRST_AT = 0.25;
// Pixels of a message that may be missing when it counts as seen.
const HIDDEN = 8;

export class Thread {
  constructor(store, peer) {
    this.store = store;
    this.peer = peer;
    // The window: places in the thread's items.
    this.from = 0;
    this.until = 0;
    this.rows = new Map();
    this.following = true;
    // The sequence of the first message that was unread when the conversation was opened.
    this.fresh = null;
    // Whether the place to begin with was found: before that nothing is drawn, and nothing has been seen.
    this.placed = false;
    this.log = el("div", { class: "log", role: "log", tabindex: "0", aria: { live: "polite", relevant: "additions" }, onscroll: () => this.#scrolled() });
    this.list = el("ol", { class: "messages" });
    this.begin = el("p", { class: "soft beginning", hidden: true }, t("beginning"));
    this.waiting = el("ol", { class: "messages waiting" });
    this.log.append(this.begin, this.list, this.waiting);
    this.jump = el("button", { class: "jump", type: "button", hidden: true, aria: { label: t("to_newest") }, onclick: () => this.#toNewest() }, icon("down"));
    this.text = el("textarea", { rows: 1, placeholder: t("write"), dir: "auto", aria: { label: t("write"), describedby: "too-long" }, enterkeyhint: "send",
      onkeydown: (event) => this.#key(event), oninput: () => this.#typed() });
    this.form = el("form", { class: "composer", onsubmit: (event) => { event.preventDefault(); this.#send(); } },
      this.text, el("button", { class: "primary round", type: "submit", aria: { label: t("send") } }, icon("send")));
    this.problem = el("p", { class: "problem", role: "alert" });
    this.long = el("p", { class: "problem", id: "too-long", role: "status" });
    this.head = el("header", { class: "head" });
    this.stage = el("div", { class: "stage" }, this.log, this.jump);
    // In place of the messages where the two are no friends.
    this.stranger = el("div", { class: "stranger", hidden: true });
    this.node = el("section", { class: "thread" }, this.head, this.stage, this.stranger, this.problem, this.long, this.form);
    this.#header();
  }

  shown() {
    this.#takeDraft();
    this.store.drafts.opened.then(() => this.#takeDraft());
    this.#stand();
    if (matchMedia("(pointer: fine)").matches) this.text.focus();
  }

  /** Shows the conversation to friends, and to others who that is and what they can do about it. */
  #stand() {
    const standing = this.store.standing(this.peer), open = standing === "accepted";
    const profile = this.store.profile(this.peer);
    const state = JSON.stringify([standing, profile?.display_name, profile?.username, profile?.bio]);
    if (state === this.standState) return;
    this.standState = state;
    this.form.hidden = this.stage.hidden = this.long.hidden = !open;
    this.stranger.hidden = open;
    this.problem.textContent = "";
    if (open) {
      fill(this.stranger);
      if (!this.opened) this.#open();
    } else {
      // What is typed is kept as a draft; the messages are not shown any more.
      this.placed = false;
      this.from = this.until = 0;
      this.rows.clear();
      fill(this.list);
      this.#drawStranger(standing, profile);
    }
    this.opened = open;
  }

  #drawStranger(standing, profile) {
    const known = standing && standing !== "unknown" && profile;
    const said = { none: "stranger_none", incoming: "stranger_incoming", outgoing: "stranger_outgoing", unknown: "e_user_not_found", self: "stranger_self" };
    fill(this.stranger, known && [avatar(profile, "large"), el("h3", {}, this.store.nameOf(this.peer)), el("p", { class: "soft" }, `@${profile.username}`),
      profile.bio && el("p", {}, profile.bio)],
      el("p", { class: "soft", role: "status" }, known || standing === "unknown" ? t(said[standing], { name: this.store.nameOf(this.peer) }) : t("loading")),
      known && el("div", { class: "actions" }, befriending(this.store, this.peer)));
  }

  /** Finds the place to begin with, in what is known already or else in what is loaded. */
  async #open() {
    await this.store.listed;
    if (this.closed || this.store.standing(this.peer) !== "accepted") return;
    this.fresh = this.#firstUnread();
    if (!this.fresh || this.#place(this.fresh) >= 0) this.#toFresh();
    try {
      await (this.fresh ? this.store.openThreadAt(this.peer, this.fresh) : this.store.openThread(this.peer));
    } catch (error) {
      // The list of friends is behind: the next one says what they are now.
      if (error.code === "not_friends") return this.store.loadFriends().catch(() => {});
      if (!error.passing) this.problem.textContent = reason(error);
    }
    if (!this.opened) return;
    if (!this.placed) this.#toFresh();
    else this.#draw();
  }

  #firstUnread() {
    const conversation = this.store.conversations.get(this.peer);
    return conversation?.unread_count > 0 ? conversation.seen_sequence + 1 : null;
  }

  /** The place of a sequence in the thread's items; -1 where it is not among them. */
  #place(sequence) {
    return this.items.findIndex((one) => one.sequence === sequence);
  }

  /** Shows the first unread message with some of what was before it, or the end where all of it fits. */
  #toFresh() {
    if (this.closed) return;
    const place = this.fresh ? this.#place(this.fresh) : -1;
    if (place < 0) return this.#toBottom();
    this.following = false;
    this.first = this.items[0].sequence;
    this.from = Math.max(0, place - STEP);
    this.until = Math.min(this.items.length, this.from + MOST_ROWS);
    this.#window();
    const above = this.rows.get(this.fresh).row.getBoundingClientRect().top - this.log.getBoundingClientRect().top;
    const { scrollTop, scrollHeight, clientHeight } = this.log;
    const allFit = this.until === this.items.length && scrollHeight - scrollTop - above <= clientHeight;
    this.log.scrollTop = allFit ? scrollHeight : scrollTop + above - clientHeight * FIRST_AT;
    this.placed = true;
    this.#draw();
    this.#scrolled();
  }

  close() {
    this.closed = true;
    cancelAnimationFrame(this.drawing);
  }

  update(kind, detail) {
    if (kind === "profile" || kind === "conversations") this.#header();
    if (["friends", "conversations", "profile"].includes(kind)) this.#stand();
    if (kind === "thread" && detail !== this.peer) return;
    if (kind === "visible" && this.placed && this.following && !document.hidden && this.#firstUnread()) {
      // What came while nobody looked is read from its beginning.
      this.fresh = this.#firstUnread();
      this.#toFresh();
    }
    if (kind === "thread" || kind === "conversations" || kind === "visible") {
      this.drawing ??= requestAnimationFrame(() => {
        this.drawing = null;
        this.#draw();
      });
    }
  }

  get items() {
    return this.store.threads.get(this.peer)?.items ?? [];
  }

  #header() {
    const profile = this.store.profile(this.peer);
    const state = JSON.stringify([profile?.display_name, profile?.username, profile?.bio]);
    if (state === this.headState) return;
    this.headState = state;
    fill(this.head, el("a", { class: "quiet back", href: "#/", aria: { label: t("back") } }, icon("back")), avatar(profile ?? { user_id: this.peer }),
      el("div", {}, el("h2", { title: this.store.nameOf(this.peer) }, this.store.nameOf(this.peer)), profile && el("p", { class: "soft" }, `@${profile.username}${profile.bio ? ` · ${profile.bio}` : ""}`)));
  }

  #draw() {
    if (!this.placed || this.closed) return;
    const { items } = this;
    if (this.first !== items[0]?.sequence) {
      // Older ones came in before: the same rows have other places now.
      const moved = this.first && items.length ? this.first - items[0].sequence : 0;
      this.from += moved;
      this.until += moved;
      this.first = items[0]?.sequence;
    }
    if (this.following || this.until > items.length) {
      this.until = items.length;
      this.from = Math.max(0, Math.min(this.from, this.until - 1), this.until - MOST_ROWS);
      if (this.until - this.from < STEP) this.from = Math.max(0, this.until - STEP);
    }
    this.#window();
    this.#drawWaiting();
    // Where nobody looks the page stays: what comes is not passed over.
    if (this.following && !document.hidden) this.log.scrollTop = this.log.scrollHeight;
    this.#drawJump();
    this.#look();
    if (this.following && !this.store.reachesEnd(this.peer)) this.#forward();
  }

  #drawJump() {
    const n = this.store.conversations.get(this.peer)?.unread_count ?? 0;
    const state = `${this.following} ${n}`;
    if (state === this.jumpState) return;
    this.jumpState = state;
    this.jump.hidden = this.following;
    this.jump.setAttribute("aria-label", n ? `${t("to_newest")}: ${t("unread", { n })}` : t("to_newest"));
    fill(this.jump, icon("down"), n > 0 && el("span", { class: "badge", aria: { hidden: "true" } }, n > 99 ? "99+" : String(n)));
  }

  /** Makes the page hold exactly the rows of the window. */
  #window() {
    const shown = this.items.slice(this.from, this.until);
    const peerSeen = this.store.conversations.get(this.peer)?.peer_seen_sequence ?? 0;
    const wanted = [];
    let before = this.items[this.from - 1];
    for (const message of shown) {
      wanted.push(this.#row(message, before, peerSeen));
      before = message;
    }
    const keep = new Set(wanted);
    for (const row of [...this.list.children]) if (!keep.has(row)) row.remove();
    let place = this.list.firstElementChild;
    for (const row of wanted) {
      if (row === place) place = place.nextElementSibling;
      else this.list.insertBefore(row, place);
    }
    const sequences = new Set(shown.map((one) => one.sequence));
    for (const sequence of this.rows.keys()) if (!sequences.has(sequence)) this.rows.delete(sequence);
    this.begin.hidden = !(this.store.threads.get(this.peer)?.start && this.from === 0);
  }

  #row(message, before, peerSeen) {
    const mine = message.sender_id === this.store.me.user_id;
    const newDay = !before || new Date(before.sent_at).toDateString() !== new Date(message.sent_at).toDateString();
    const joined = !newDay && before?.sender_id === message.sender_id && Date.parse(message.sent_at) - Date.parse(before.sent_at) < 300_000;
    const seen = mine && message.sequence <= peerSeen;
    const fresh = message.sequence === this.fresh;
    const state = `${newDay} ${joined} ${seen} ${fresh}`;
    const known = this.rows.get(message.sequence);
    if (known?.state === state) return known.row;
    const row = known?.row ?? el("li");
    row.className = `message ${mine ? "mine" : "theirs"} ${joined ? "joined" : ""}`;
    fill(row, newDay && el("p", { class: "day" }, el("span", {}, day(message.sent_at))),
      fresh && el("p", { class: "fresh-line" }, t("new_messages")),
      el("div", { class: "bubble" },
        el("span", { class: "hidden" }, `${mine ? t("you") : this.store.nameOf(this.peer)}: `),
        el("p", { class: "text", dir: "auto" }, linked(message.text)),
        el("span", { class: "meta" }, el("time", { datetime: message.sent_at, title: full(message.sent_at) }, clock(message.sent_at)),
          mine && el("span", { class: seen ? "tick seen" : "tick", title: t(seen ? "seen" : "sent") }, icon(seen ? "checks" : "check"), el("span", { class: "hidden" }, t(seen ? "seen" : "sent"))))));
    this.rows.set(message.sequence, { row, state });
    return row;
  }

  #drawWaiting() {
    const waiting = this.store.outbox.to(this.peer);
    const state = JSON.stringify(waiting.map((one) => [one.id, one.failed]));
    if (state === this.waitingState) return;
    this.waitingState = state;
    fill(this.waiting, waiting.map((one) => el("li", { class: "message mine" }, el("div", { class: `bubble ${one.failed ? "failed" : "pending"}` },
      el("p", { class: "text", dir: "auto" }, linked(one.text)),
      el("span", { class: "meta" }, clock(one.at), el("span", { class: "tick", title: t("waiting") }, icon(one.failed ? "warn" : "clock"), el("span", { class: "hidden" }, one.failed ? "" : t("waiting")))),
      one.failed && el("p", { class: "why" }, t("failed", { why: reason(one.failed) }), " ",
        el("button", { class: "link", type: "button", onclick: () => this.store.outbox.retry(one.id) }, t("retry")), " ",
        el("button", { class: "link", type: "button", onclick: () => this.store.outbox.discard(one.id) }, t("discard")))))));
  }

  #scrolled() {
    const { log } = this;
    if (!this.placed) return;
    const below = log.scrollHeight - log.scrollTop - log.clientHeight;
    this.following = below < AT_BOTTOM && this.until >= this.items.length && this.store.reachesEnd(this.peer);
    if (log.scrollTop < NEAR) this.#back();
    else if (below < NEAR && (this.until < this.items.length || !this.store.reachesEnd(this.peer))) this.#forward();
    this.#look();
    this.#drawJump();
  }

  async #back() {
    if (this.moving) return;
    this.moving = true;
    try {
      if (this.from === 0) {
        if (!await this.store.loadOlder(this.peer)) return;
        const moved = this.first - this.items[0].sequence;
        this.first = this.items[0].sequence;
        this.from += moved;
        this.until += moved;
      }
      if (this.from === 0) return;
      const from = Math.max(0, this.from - STEP);
      this.#steadily(() => {
        this.from = from;
        this.until = Math.min(this.until, from + MOST_ROWS);
      });
    } catch { /* the next scroll tries again */
    } finally {
      this.moving = false;
    }
  }

  /** Moves the window towards the newest message, and loads what is missing up to it. */
  async #forward() {
    if (this.moving) return;
    this.moving = true;
    try {
      if (this.until >= this.items.length && !await this.store.loadNewer(this.peer)) return;
      if (this.closed || this.until >= this.items.length) return;
      this.#steadily(() => {
        this.until = Math.min(this.items.length, this.until + STEP);
        this.from = Math.max(this.from, this.until - MOST_ROWS);
      });
    } catch { /* the next scroll tries again */
    } finally {
      this.moving = false;
    }
    this.#draw();
  }

  /** Moves the window while a row that stays in it keeps its place on the screen. */
  #steadily(move) {
    const top = this.log.getBoundingClientRect().top;
    const anchor = [...this.list.children].find((row) => row.getBoundingClientRect().bottom > top);
    const before = anchor?.getBoundingClientRect().top;
    move();
    this.#window();
    if (anchor?.isConnected) this.log.scrollTop += anchor.getBoundingClientRect().top - before;
  }

  #toBottom() {
    this.placed = true;
    this.following = true;
    this.#draw();
    this.log.scrollTop = this.log.scrollHeight;
  }

  /** Shows the newest messages, however far they are. */
  async #toNewest() {
    if (!this.store.reachesEnd(this.peer)) await this.store.openThread(this.peer).catch(() => {});
    if (!this.closed) this.#toBottom();
  }

  /** What is on the screen has been seen: the last message whose end is there, or that fills all of it. */
  #look() {
    if (document.hidden || !this.placed) return;
    const { top, bottom } = this.log.getBoundingClientRect();
    for (let place = this.until - 1; place >= this.from; place--) {
      const row = this.rows.get(this.items[place]?.sequence)?.row.getBoundingClientRect();
      if (!row || !row.height) continue;
      if (row.bottom <= top) return;
      if (row.bottom <= bottom + HIDDEN || row.top <= top) return this.store.markSeen(this.peer, this.items[place].sequence);
    }
  }

  #key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && matchMedia("(pointer: fine)").matches) {
      event.preventDefault();
      this.#send();
    }
  }

  #grow() {
    this.text.style.setProperty("height", "auto");
    this.text.style.setProperty("height", `${Math.min(this.text.scrollHeight, 160)}px`);
  }

  /** What would be sent. */
  get #written() {
    return this.text.value.replace(/\s+$/, "");
  }

  #typed() {
    this.#grow();
    this.#measure();
    this.store.drafts.keep(this.peer, this.text.value);
  }

  /** Puts the draft into the field, unless there is a newer text. */
  #takeDraft() {
    const draft = this.store.drafts.to(this.peer);
    if (!draft || this.text.value) return;
    this.text.value = draft;
    this.#grow();
    this.#measure();
  }

  /** Says what is too long, and leaves it as it is; whether it can be sent. */
  #measure() {
    const n = [...this.#written].length, fits = n <= MOST_CHARACTERS;
    this.long.textContent = fits ? "" : t("too_long", { n });
    this.text.setAttribute("aria-invalid", String(!fits));
    return fits;
  }

  #send() {
    const text = this.#written;
    if (!this.#measure()) return this.text.focus();
    if (!/[^\s\x1c-\x1f\x85]/.test(text)) return;
    this.text.value = "";
    this.#typed();
    this.store.outbox.add(this.peer, text);
    this.#toNewest();
    this.text.focus();
  }
}
