// A person who is not a friend: who that is, and the buttons that ask for a friendship or answer a request.

import { avatar, el, fill } from "../../dom.js";
import { t } from "../../i18n.js";
import { befriending } from "../befriending.js";
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
  draw(standing) {
    const { profiles } = this.store, profile = profiles.get(this.peer);
    const state = JSON.stringify([standing, profile?.display_name, profile?.username, profile?.bio]);
    if (state === this.state) return false;
    this.state = state;
    this.node.hidden = standing === "accepted";
    if (this.node.hidden) fill(this.node);
    else this.#fill(standing, profile);
    return true;
  }

  #fill(standing, profile) {
    const { store, peer } = this, name = store.profiles.nameOf(peer);
    const known = standing && standing !== "unknown" && profile;
    fill(this.node, known && [avatar(profile, "large"), el("h3", {}, name), el("p", { class: "soft" }, `@${profile.username}`),
      profile.bio && el("p", {}, profile.bio)],
      el("p", { class: "soft", role: "status" }, known || standing === "unknown" ? t(TEXTS[standing], { name }) : t("loading")),
      known && el("div", { class: "actions" }, befriending(store, peer),
        standing !== "self" && el("button", { type: "button", class: "danger", onclick: () => openReportDialog(store, peer) }, t("report")),
        standing !== "self" && standing !== "blocked" && el("button", { type: "button", class: "danger", onclick: () => confirmBlock(store, peer) }, t("block"))));
  }
}
