// Buttons that ask for a friendship, answer a request or take one back.

import { el } from "../dom.js";
import { errorText, t } from "../i18n.js";

/** A button that runs one request at a time. An error is shown in its row, its dialog or its view. */
export function actionButton(text, work, kind = "") {
  return el("button", { class: kind, type: "button", onclick: async ({ currentTarget: button }) => {
    const problem = button.closest("li, dialog, section").querySelector(".problem");
    button.disabled = true;
    problem.textContent = "";
    try {
      await work();
      button.disabled = false;
    } catch (error) {
      problem.textContent = errorText(error);
      button.disabled = false;
      button.focus();
    }
  } }, text);
}

/** The buttons that accept or decline a user's request; `answered` runs after either. */
export function answerButtons(store, id, answered = async () => {}) {
  return [
    actionButton(t("accept"), () => store.friends.add(id).then(answered), "primary"),
    actionButton(t("decline"), () => store.friends.remove(id).then(answered)),
  ];
}

/** The buttons for a user who is not a friend. */
export function friendshipButtons(store, id) {
  const relationship = store.friends.relationship(id);
  if (relationship === "incoming") return answerButtons(store, id);
  if (relationship === "outgoing") return [actionButton(t("withdraw"), () => store.friends.remove(id))];
  if (relationship === "blocked") return [actionButton(t("unblock"), () => store.blocks.remove(id))];
  if (relationship === "none") return [actionButton(t("add"), () => store.friends.add(id), "primary")];
  return [];
}
