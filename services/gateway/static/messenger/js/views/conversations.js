// The list of conversations: newest first, with unread counts, filtered as one types.

import { avatar, el, fill, icon } from "../dom.js";
import { brief, t } from "../i18n.js";

export class ChatList {
  constructor(store) {
    this.store = store;
    this.selected = null;
    // By the other person's id: kept, so that a changed row is not a new one to a screen reader or a pointer.
    this.rows = new Map();
    this.search = el("input", { type: "search", class: "search", placeholder: t("search_chats"), aria: { label: t("search_chats") }, oninput: () => this.draw() });
    this.items = el("ul", { class: "chats" });
    this.empty = el("div", { class: "empty", hidden: true });
    this.node = el("div", { class: "chat-list" }, el("h1", { class: "app-name" }, t("app")), this.search, this.items, this.empty);
    this.draw();
  }

  /** Draws at most once a frame, however much changes. */
  update() {
    this.drawing ??= requestAnimationFrame(() => {
      this.drawing = null;
      this.draw();
    });
  }

  select(peer) {
    this.selected = peer;
    this.draw();
  }

  step(by) {
    const ids = this.shown;
    const place = ids.indexOf(this.selected);
    const next = ids[Math.max(0, Math.min(ids.length - 1, place + by))];
    if (next) location.hash = `#/chat/${next}`;
  }

  get shown() {
    const wanted = this.search.value.trim().toLocaleLowerCase();
    return this.store.conversations.ordered.map((one) => one.user_id).filter((id) => {
      if (!wanted) return true;
      const profile = this.store.profiles.get(id);
      return `${profile?.display_name ?? ""} ${profile?.username ?? ""}`.toLocaleLowerCase().includes(wanted);
    });
  }

  draw() {
    const ids = this.shown;
    const rows = ids.map((id) => this.#row(this.store.conversations.get(id)));
    if (rows.length !== this.items.childElementCount || rows.some((row, place) => this.items.children[place] !== row)) {
      const focused = this.items.contains(document.activeElement) ? document.activeElement : null;
      // Only what is out of place is moved: a link that is taken out in the middle of a click loses it.
      rows.forEach((row, place) => {
        if (this.items.children[place] !== row) this.items.insertBefore(row, this.items.children[place] ?? null);
      });
      while (this.items.childElementCount > rows.length) this.items.lastElementChild.remove();
      focused?.focus({ preventScroll: true });
    }
    for (const id of this.rows.keys()) if (!this.store.conversations.has(id)) this.rows.delete(id);
    this.empty.hidden = rows.length > 0;
    if (!rows.length) {
      fill(this.empty, this.search.value ? el("p", {}, t("found_none"))
        : this.store.conversations.ready ? [el("p", {}, t("no_chats")), el("p", { class: "soft" }, t("no_chats_hint")), el("p", {}, el("a", { class: "button", href: "#/people" }, icon("people"), t("find_somebody")))] : el("p", { class: "soft" }, t("loading")));
    }
  }

  #row(conversation) {
    const id = conversation.user_id, profile = this.store.profiles.get(id);
    const waiting = this.store.outbox.to(id).at(-1);
    const newest = waiting ?? conversation.last_message;
    const last = newest && this.store.outbox.applyTo(newest);
    const mine = waiting || last?.sender_id === this.store.me.user_id;
    const draft = id === this.selected ? "" : this.store.drafts.to(id);
    const state = JSON.stringify([draft, profile?.display_name, profile?.username, last?.text, last?.deleted, last?.sent_at ?? last?.at, conversation.unread_count, id === this.selected, mine]);
    const known = this.rows.get(id);
    if (known?.state === state) return known.row;
    const unread = conversation.unread_count;
    // The link stays the same, as its row does: a click that is begun on one and ended on another is none.
    const link = known?.link ?? el("a", { href: `#/chat/${id}`, class: "chat" });
    if (id === this.selected) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    fill(link,
      avatar(profile ?? { user_id: id }),
      el("span", { class: "who" }, this.store.profiles.nameOf(id)),
      last && el("time", { class: "when", datetime: new Date(last.sent_at ?? last.at).toISOString() }, brief(last.sent_at ?? last.at)),
      el("span", { class: "last", dir: "auto" }, draft ? [el("span", { class: "draft" }, t("draft")), ` ${draft.slice(0, 120)}`] : last ? `${mine ? `${t("you")}: ` : ""}${last.deleted ? t("message_deleted") : last.text.slice(0, 120)}` : t("say_hello")),
      unread > 0 && el("span", { class: "badge", aria: { label: t("unread", { n: unread }) }, role: "img" }, unread > 99 ? "99+" : String(unread)));
    const row = known?.row ?? el("li", {}, link);
    this.rows.set(id, { row, link, state });
    return row;
  }
}
