// Who the conversation is with.

import { avatar, el, fill, icon } from "../../dom.js";
import { t } from "../../i18n.js";

export class Header {
  constructor(store, peer) {
    this.store = store;
    this.peer = peer;
    this.node = el("header", { class: "head" });
    this.draw();
  }

  draw() {
    const { profiles } = this.store, profile = profiles.get(this.peer);
    const state = JSON.stringify([profile?.display_name, profile?.username, profile?.bio]);
    if (state === this.state) return;
    this.state = state;
    const name = profiles.nameOf(this.peer);
    fill(this.node, el("a", { class: "quiet back", href: "#/", aria: { label: t("back") } }, icon("back")), avatar(profile ?? { user_id: this.peer }),
      el("div", {}, el("h2", { title: name }, name), profile && el("p", { class: "soft" }, `@${profile.username}${profile.bio ? ` · ${profile.bio}` : ""}`)));
  }
}
