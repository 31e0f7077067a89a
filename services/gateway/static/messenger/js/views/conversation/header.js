// Who the conversation is with and whether they are there, and the menu of the conversation.

import { avatar, el, fill, icon } from "../../dom.js";
import { t } from "../../i18n.js";
import { isMuted } from "../../store/conversation_settings.js";
import { openConversationMenu } from "../conversation_menu.js";
import { standingOf } from "../standing.js";

export class Header {
  constructor(store, peer, { failed }) {
    this.store = store;
    this.peer = peer;
    this.failed = failed;
    this.node = el("header", { class: "head" });
    // For screen readers, which are not told of everything else that changes here.
    this.typing = el("span", { class: "hidden", role: "status" });
    this.draw();
  }

  draw() {
    const { profiles, conversations } = this.store, profile = profiles.get(this.peer), conversation = conversations.get(this.peer);
    const muted = conversation !== undefined && isMuted(conversation);
    const standing = standingOf(this.store, this.peer), typing = this.store.presence.isTyping(this.peer);
    const state = JSON.stringify([profile?.display_name, profile?.username, profile?.bio, conversation === undefined, muted, standing]);
    if (state === this.state) return;
    this.state = state;
    const name = profiles.nameOf(this.peer), said = typing ? t("announce_typing", { name }) : "";
    if (this.typing.textContent !== said) this.typing.textContent = said;
    fill(this.node, el("a", { class: "quiet back", href: "#/", aria: { label: t("back") } }, icon("back")), avatar(profile ?? { user_id: this.peer }),
      el("div", {}, el("h2", { title: name }, name, muted && el("span", { class: "mark", role: "img", title: t("muted"), aria: { label: t("muted") } }, icon("muted"))), profile && el("p", { class: typing ? "soft typing" : "soft" }, standing || `@${profile.username}${profile.bio ? ` · ${profile.bio}` : ""}`), this.typing),
      conversation && el("button", { type: "button", class: "quiet round", aria: { label: t("conversation_menu", { name }), haspopup: "menu" },
        onclick: ({ currentTarget }) => openConversationMenu(this.store, this.peer, currentTarget, this.failed) }, icon("more")));
  }
}
