// The frame of the messenger once somebody is logged in: navigation, the list on the left, the view of the address.

import { Alerts } from "../alerts.js";
import { announce } from "../announce.js";
import { el, fill, icon } from "../dom.js";
import { t } from "../i18n.js";
import { isMuted } from "../store/conversation_settings.js";
import { AccountNotices } from "./account_notices.js";
import { ChatList } from "./conversations.js";
import { notificationsView } from "./notifications.js";
import { closePopover } from "./menu.js";
import { openPalette } from "./palette.js";
import { peopleView } from "./people.js";
import { loginHistoryView } from "./account/login_history.js";
import { settingsView } from "./settings/view.js";
import { ConversationView } from "./conversation/view.js";

const VIEWS = ["chats", "people", "notifications", "settings"];
const ICONS = { chats: "chats", people: "people", notifications: "bell", settings: "gear" };

export class Shell {
  constructor(app, store, accountActions) {
    this.app = app;
    this.store = store;
    // `logOut` and `deleteAccount`.
    this.accountActions = accountActions;
    this.view = null;
    this.notices = new AccountNotices(store);
    this.listening = new AbortController();
  }

  open() {
    const { signal } = this.listening;
    const on = (kind, work) => this.store.addEventListener(kind, work, { signal });
    on("connection", () => this.#showConnection());
    for (const kind of ["conversations", "friends", "notifications", "presence"]) on(kind, () => this.#drawBadges());
    for (const kind of ["conversations", "friends", "blocks", "presence", "notifications", "account_notification", "profile", "account", "sessions", "messages", "message_event", "drafts", "connection"]) {
      on(kind, ({ detail }) => { this.list?.update(); this.view?.update?.(kind, detail); });
    }
    on("message_event", ({ detail }) => this.#announceElsewhere(detail));
    on("account_notification", ({ detail }) => this.notices.add(detail));
    on("notifications", () => this.notices.update());
    window.addEventListener("hashchange", () => this.#show(), { signal });
    window.addEventListener("keydown", (event) => this.#key(event), { signal });
    document.addEventListener("visibilitychange", () => this.view?.update?.("visible"), { signal });
    this.draw();
    this.alerts = new Alerts(this.store);
    this.store.open();
  }

  close() {
    this.listening.abort();
    this.alerts.close();
    this.view?.close?.();
    closePopover();
    this.store.close();
    document.querySelector("dialog[open]")?.close();
    showUnreadCount(0);
  }

  draw() {
    this.list = new ChatList(this.store);
    this.main = el("main", { class: "view", id: "main", tabindex: "-1" });
    this.bar = el("p", { class: "connection", role: "status", hidden: true });
    this.badges = {};
    this.tabs = VIEWS.map((name) => {
      this.badges[name] = el("span", { class: "badge", hidden: true });
      return el("a", { href: name === "chats" ? "#/" : `#/${name}`, data: { view: name } }, icon(ICONS[name]), el("span", { class: "tab" }, t(name)), this.badges[name]);
    });
    fill(this.app, el("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); this.main.focus(); } }, t("skip")),
      this.bar, this.notices.draw(), el("div", { class: "shell" },
        el("nav", { class: "tabs", aria: { label: t("main_menu") } }, this.tabs),
        el("aside", { class: "list", aria: { label: t("chats") } },
          el("button", { class: "find", type: "button", title: "Ctrl+K, /", aria: { keyshortcuts: "Control+K /", haspopup: "dialog" }, onclick: () => openPalette(this.store) }, icon("search"), t("find")),
          this.list.node),
        this.main));
    this.#show();
    this.#drawBadges();
    this.#showConnection();
  }

  #show() {
    const [, name = "", id, message] = location.hash.split("/");
    const peer = name === "chat" && /^[0-9a-f-]{36}$/.test(id ?? "") ? id : null;
    const view = peer ? "chats" : VIEWS.includes(name) ? name : "chats";
    this.view?.close?.();
    this.app.dataset.view = peer ? "thread" : view;
    for (const tab of this.tabs) {
      if (tab.dataset.view === view) tab.setAttribute("aria-current", "page");
      else tab.removeAttribute("aria-current");
    }
    this.list.select(peer);
    const { store } = this;
    if (peer) this.view = new ConversationView(store, peer);
    else if (view === "people") this.view = peopleView(store);
    else if (view === "notifications") this.view = notificationsView(store);
    else if (view === "settings" && id === "sessions") this.view = loginHistoryView(store);
    else if (view === "settings") this.view = settingsView(store, this.accountActions, id);
    else this.view = { node: el("div", { class: "nothing" }, icon("chats"), el("p", {}, t("pick_chat")), el("p", { class: "soft keys" }, t("shortcut"))) };
    fill(this.main, this.view.node);
    this.view.onShown?.();
    if (peer && Number(message)) this.view.jumpTo(Number(message));
    this.#drawBadges();
  }

  /** Says to screen readers that a conversation which is not shown has its first unread message. */
  #announceElsewhere({ peer, kind, by }) {
    const { store } = this, conversation = store.conversations.get(peer);
    if (kind !== "sent" || by === store.me.user_id || this.view?.peer === peer || isMuted(conversation) || conversation.unread_count !== 1) return;
    announce(t("announce_elsewhere", { name: store.profiles.nameOf(peer) }));
  }

  #drawBadges() {
    const { store } = this;
    const counts = {
      chats: store.conversations.unread, people: store.friends.incoming.length,
      notifications: store.notifications.items.filter((notification) => !notification.read && notification.kind !== "message").length,
    };
    for (const [name, count] of Object.entries(counts)) {
      const badge = this.badges[name];
      badge.hidden = count === 0;
      badge.textContent = count > 99 ? "99+" : String(count);
    }
    showUnreadCount(counts.chats);
  }

  #showConnection() {
    clearTimeout(this.connectionTimer);
    this.app.dataset.line = this.store.connected ? "up" : "down";
    const show = () => {
      this.bar.hidden = this.store.connected;
      this.bar.textContent = this.store.connected ? "" : navigator.onLine ? t("connecting") : t("offline");
    };
    // A short break is not shown.
    if (this.store.connected || !navigator.onLine) show();
    else this.connectionTimer = setTimeout(show, 1_500);
  }

  #key(event) {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && latinLetter(event) === "k") {
      event.preventDefault();
      openPalette(this.store);
    } else if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.target.closest("input, textarea, select")) {
      event.preventDefault();
      openPalette(this.store);
    } else if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      event.preventDefault();
      this.list.step(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Escape" && !document.querySelector("dialog") && location.hash.length > 2) {
      location.hash = "#/";
    }
  }
}

/** The count of unread messages in the title and on the icon of an installed page. */
function showUnreadCount(count) {
  document.title = count ? `(${count}) ${t("app")}` : t("app");
  navigator.setAppBadge?.(count).catch(() => {}); // 0 takes it away
}

/** The Latin letter of a key, also where the keyboard writes others. */
function latinLetter({ key, code }) {
  return /^[a-z]$/i.test(key) ? key.toLowerCase() : code.replace(/^Key/, "").toLowerCase();
}
