// Who the conversation is with and whether they are there, and the menu of the conversation.

import { avatar, el, fill, icon } from "../../dom.js";
import { t } from "../../i18n.js";
import { isMuted } from "../../store/conversation_settings.js";
import { openConversationMenu } from "../conversation_menu.js";
import { presenceText } from "../presence_text.js";

export class Header {
  /** `failed(text)`: called with the reason where a change was refused, and with nothing before the next one. */
  constructor(store, peer, { failed }) {
    this.store = store;
    this.peer = peer;
    this.avatar = el("span");
    this.name = el("span", { class: "name" });
    this.muted = el("span", { class: "mark", role: "img", title: t("muted"), aria: { label: t("muted") }, hidden: true }, icon("muted"));
    this.title = el("h2", {}, this.name, this.muted);
    this.line = el("p");
    // For screen readers: nothing else that changes here is announced.
    this.typing = el("span", { class: "hidden", role: "status" });
    this.menu = el("button", { type: "button", class: "quiet round", hidden: true, aria: { haspopup: "menu" }, onclick: () => {
      failed("");
      openConversationMenu(store, peer, this.menu, failed);
    } }, icon("more"));
    this.node = el("header", { class: "head" }, el("a", { class: "quiet back", href: "#/", aria: { label: t("back") } }, icon("back")), this.avatar,
      el("div", {}, this.title, this.line, this.typing), this.menu);
    this.draw();
  }

  /** Changes texts only: the menu's button stays the same under an open menu. */
  draw() {
    const { store, peer } = this, profile = store.profiles.get(peer), conversation = store.conversations.get(peer);
    const name = store.profiles.nameOf(peer), typing = store.presence.isTyping(peer);
    const line = presenceText(store, peer) || [store.profiles.handleOf(peer), profile?.bio].filter(Boolean).join(" · ");
    const state = JSON.stringify([name, line, typing, Boolean(profile), Boolean(conversation), Boolean(conversation && isMuted(conversation))]);
    if (state === this.state) return;
    this.state = state;
    fill(this.avatar, avatar(profile ?? { user_id: peer }));
    this.name.textContent = this.title.title = name;
    this.muted.hidden = !conversation || !isMuted(conversation);
    this.line.textContent = line;
    this.line.className = typing ? "soft typing" : "soft";
    const announcement = typing ? t("announce_typing", { name }) : "";
    if (this.typing.textContent !== announcement) this.typing.textContent = announcement;
    this.menu.hidden = !conversation;
    this.menu.setAttribute("aria-label", t("conversation_menu", { name }));
  }
}
