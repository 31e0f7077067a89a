// The reactions to a message: each emoji with its count, the user's own one pressed.

import { el } from "../../dom.js";
import { number, t } from "../../i18n.js";

/** `toggle(emoji)` is called with the emoji that was clicked, null where it was the user's own one. */
export function reactionChips(store, reactions, toggle) {
  return el("div", { class: "reactions", role: "group", aria: { label: t("reactions") } }, reactions.map(({ emoji, user_ids: ids }) => {
    const own = ids.includes(store.me.user_id);
    const names = ids.map((id) => (id === store.me.user_id ? t("you") : store.profiles.nameOf(id))).join(", ");
    return el("button", { type: "button", class: "chip", title: names, data: { part: `reaction ${emoji}` }, aria: { pressed: String(own), label: `${emoji} ${number(ids.length)}: ${names}` },
      onclick: () => toggle(own ? null : emoji) }, el("span", {}, emoji), number(ids.length));
  }));
}
