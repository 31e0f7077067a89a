// A person who is not a friend: who that is, and the buttons that ask for a friendship or answer a request.

import { avatar, el, fill } from "../../dom.js";
import { t } from "../../i18n.js";
import { friendshipButtons } from "../friendship_buttons.js";
import { confirmBlock } from "../confirm_dialog.js";
import { openReportDialog } from "../report_dialog.js";

const TEXTS = { none: "stranger_none", blocked: "stranger_blocked", incoming: "stranger_incoming", outgoing: "stranger_outgoing", unknown: "e_user_not_found", self: "stranger_self" };

export class StrangerView {
  constructor(store, peer) {
    this.store = store;
    this.peer = peer;
    this.node = el("div", { class: "stranger", hidden: true });
  }

  /** Draws the person unless they are a friend; whether something has changed. */
  draw(relationship) {
    const { profiles } = this.store, profile = profiles.get(this.peer);
    const state = JSON.stringify([relationship, profile?.display_name, profile?.username, profile?.bio]);
    if (state === this.state) return false;
    this.state = state;
    this.node.hidden = relationship === "accepted";
    if (this.node.hidden) fill(this.node);
    else this.#fill(relationship, profile);
    return true;
  }

  #fill(relationship, profile) {
    const { store, peer } = this, name = store.profiles.nameOf(peer);
    const known = relationship && relationship !== "unknown" && profile;
    fill(this.node, known && [avatar(profile, "large"), el("h3", {}, name), el("p", { class: "soft" }, `@${profile.username}`),
      profile.bio && el("p", {}, profile.bio)],
      el("p", { class: "soft", role: "status" }, known || relationship === "unknown" ? t(TEXTS[relationship], { name }) : t("loading")),
      known && el("div", { class: "actions" }, friendshipButtons(store, peer),
        relationship !== "self" && el("button", { type: "button", class: "danger", onclick: () => openReportDialog(store, peer) }, t("report")),
        relationship !== "self" && relationship !== "blocked" && el("button", { type: "button", class: "danger", onclick: () => confirmBlock(store, peer) }, t("block"))));
  }
}
