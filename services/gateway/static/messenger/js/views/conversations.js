// The list of conversations: pinned ones first, then newest first, with unread counts, filtered as one types. Archived ones
// have a list of their own, which a button opens.

import { avatar, el, fill, icon } from "../dom.js";
import { briefTime, t } from "../i18n.js";
import { isMuted } from "../store/conversation_settings.js";
import { openConversationMenu } from "./conversation_menu.js";

export class ChatList {
  constructor(store) {
    this.store = store;
    this.selected = null;
    // By the other person's id: kept, so that a changed row is not a new one to a screen reader or a pointer.
    this.rows = new Map();
    this.search = el("input", { type: "search", class: "search", placeholder: t("search_chats"), aria: { label: t("search_chats") }, oninput: () => this.draw() });
    this.items = el("ul", { class: "chats", oncontextmenu: (event) => this.#openMenu(event) });
    // Whether the archived ones are shown, or all others.
    this.showsArchive = false;
    this.archiveButton = el("button", { type: "button", class: "quiet archive", hidden: true, onclick: () => this.#switchArchive() });
    this.problem = el("p", { class: "problem", role: "alert" });
    this.empty = el("div", { class: "empty", hidden: true });
    this.node = el("div", { class: "chat-list" }, el("h1", { class: "app-name" }, t("app")), this.search, this.archiveButton, this.problem, this.items, this.empty);
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
    const ids = this.visibleIds;
    const index = ids.indexOf(this.selected);
    const next = ids[Math.max(0, Math.min(ids.length - 1, index + by))];
    if (next) location.hash = `#/chat/${next}`;
  }

  get visibleIds() {
    const wanted = this.search.value.trim().toLocaleLowerCase();
    // A search finds archived ones too.
    const listed = this.store.conversations.ordered.filter(({ archived }) => wanted || (archived ?? false) === this.showsArchive);
    return listed.map((conversation) => conversation.user_id).filter((id) => {
      if (!wanted) return true;
      const profile = this.store.profiles.get(id);
      return `${profile?.display_name ?? ""} ${profile?.username ?? ""}`.toLocaleLowerCase().includes(wanted);
    });
  }

  draw() {
    this.#drawArchiveButton();
    const ids = this.visibleIds;
    const rows = ids.map((id) => this.#row(this.store.conversations.get(id)));
    if (rows.length !== this.items.childElementCount || rows.some((row, index) => this.items.children[index] !== row)) {
      const focused = this.items.contains(document.activeElement) ? document.activeElement : null;
      // Only what is out of place is moved: a link that is taken out in the middle of a click loses it.
      rows.forEach((row, index) => {
        if (this.items.children[index] !== row) this.items.insertBefore(row, this.items.children[index] ?? null);
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

  #drawArchiveButton() {
    const archived = [...this.store.conversations.values()].filter((conversation) => conversation.archived);
    if (!archived.length) this.showsArchive = false;
    this.archiveButton.hidden = !archived.length;
    const unread = archived.filter((conversation) => conversation.unread_count > 0 && !isMuted(conversation)).length;
    const state = JSON.stringify([this.showsArchive, archived.length, unread]);
    if (state === this.archiveButton.dataset.state) return;
    this.archiveButton.dataset.state = state;
    fill(this.archiveButton, this.showsArchive ? [icon("back"), t("all_chats")] : [icon("archive"), t("archived", { n: archived.length }),
      unread > 0 && el("span", { class: "badge", role: "img", aria: { label: t("unread_chats", { n: unread }) } }, String(unread))]);
  }

  #switchArchive() {
    this.showsArchive = !this.showsArchive;
    this.draw();
    this.items.scrollTop = 0;
  }

  #openMenu(event) {
    const link = event.target.closest("li")?.querySelector("a");
    if (!link) return;
    event.preventDefault();
    this.problem.textContent = "";
    const peer = link.hash.split("/").at(-1);
    openConversationMenu(this.store, peer, link, (text) => { this.problem.textContent = text; });
  }

  #row(conversation) {
    const id = conversation.user_id, profile = this.store.profiles.get(id);
    const waiting = this.store.outbox.to(id).at(-1);
    const newest = waiting ?? conversation.last_message;
    const last = newest && this.store.outbox.applyTo(newest);
    const mine = waiting || last?.sender_id === this.store.me.user_id;
    const draft = id === this.selected ? "" : this.store.drafts.to(id);
    const isTyping = this.store.presence.isTyping(id), isOnline = this.store.presence.of(id)?.online ?? false;
    const state = JSON.stringify([draft, profile?.display_name, profile?.username, last?.text, last?.deleted, last?.sent_at ?? last?.at, conversation.unread_count, id === this.selected, mine, conversation.pinned, isMuted(conversation), isOnline, isTyping]);
    const known = this.rows.get(id);
    if (known?.state === state) return known.row;
    const unread = conversation.unread_count;
    // The link stays the same, as its row does: a click that is begun on one and ended on another is none.
    const link = known?.link ?? el("a", { href: `#/chat/${id}`, class: "chat" });
    if (id === this.selected) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    fill(link,
      avatar(profile ?? { user_id: id }),
      isOnline && el("span", { class: "online", role: "img", title: t("online"), aria: { label: t("online") } }),
      el("span", { class: "who" }, this.store.profiles.nameOf(id), conversation.pinned && mark("pin", t("pinned")), isMuted(conversation) && mark("muted", t("muted"))),
      last && el("time", { class: "when", datetime: new Date(last.sent_at ?? last.at).toISOString() }, briefTime(last.sent_at ?? last.at)),
      el("span", { class: "last", dir: "auto" }, isTyping ? el("span", { class: "typing" }, t("typing")) : draft ? [el("span", { class: "draft" }, t("draft")), ` ${draft.slice(0, 120)}`] : last ? `${mine ? `${t("you")}: ` : ""}${last.deleted ? t("message_deleted") : last.text.slice(0, 120)}` : t("say_hello")),
      unread > 0 && el("span", { class: isMuted(conversation) ? "badge calm" : "badge", aria: { label: t("unread", { n: unread }) }, role: "img" }, unread > 99 ? "99+" : String(unread)));
    const row = known?.row ?? el("li", {}, link);
    this.rows.set(id, { row, link, state });
    return row;
  }
}

/** A small picture with a meaning. */
function mark(shape, meaning) {
  return el("span", { class: "mark", role: "img", title: meaning, aria: { label: meaning } }, icon(shape));
}
