// The card of the settings that lists whom one has blocked.

import { avatar, el, fill } from "../../dom.js";
import { t } from "../../i18n.js";
import { actionButton } from "../friendship_buttons.js";

export function blockedPeopleCard(store) {
  const list = el("div");
  const heading = el("h3", { tabindex: "-1" }, t("blocked_people"));
  const node = el("div", { class: "card" }, heading, el("p", { class: "soft" }, t("blocked_hint")), list);

  function row({ user_id: id }) {
    const profile = store.profiles.get(id), name = store.profiles.nameOf(id);
    const unblock = actionButton(t("unblock"), async () => { await store.blocks.remove(id); heading.focus(); });
    unblock.setAttribute("aria-label", `${t("unblock")}: ${name}`);
    return el("li", { class: "person" }, avatar(profile ?? { user_id: id }),
      el("div", {}, el("span", { class: "who" }, name), el("span", { class: "soft" }, store.profiles.handleOf(id))),
      el("div", { class: "actions" }, unblock), el("p", { class: "problem", role: "alert" }));
  }

  function draw() {
    const { items, known } = store.blocks;
    fill(list, items.length ? el("ul", { class: "persons" }, items.map(row)) : el("p", { class: "soft" }, t(known ? "none" : "loading")));
  }

  draw();
  return { node, draw };
}
