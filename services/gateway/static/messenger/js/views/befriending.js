// Buttons that ask for a friendship, answer a request or take one back.

import { el } from "../dom.js";
import { reason, t } from "../i18n.js";

/** A button that works once at a time. What goes wrong is said in its row, its dialog or its view. */
export function acting(text, work, kind = "") {
  return el("button", { class: kind, type: "button", onclick: async ({ currentTarget: button }) => {
    const place = button.closest("li, dialog, section").querySelector(".problem");
    button.disabled = true;
    place.textContent = "";
    try {
      await work();
      button.disabled = false;
    } catch (error) {
      place.textContent = reason(error);
      button.disabled = false;
      button.focus();
    }
  } }, text);
}

/** Accepts or declines somebody's request; `answered` is called afterwards. */
export function answering(store, id, answered = async () => {}) {
  return [
    acting(t("accept"), () => store.friends.add(id).then(answered), "primary"),
    acting(t("decline"), () => store.friends.remove(id).then(answered)),
  ];
}

/** What one can do about somebody who is not a friend. */
export function befriending(store, id) {
  const standing = store.friends.standing(id);
  if (standing === "incoming") return answering(store, id);
  if (standing === "outgoing") return [acting(t("withdraw"), () => store.friends.remove(id))];
  if (standing === "blocked") return [acting(t("unblock"), () => store.blocks.remove(id))];
  if (standing === "none") return [acting(t("add"), () => store.friends.add(id), "primary")];
  return [];
}
