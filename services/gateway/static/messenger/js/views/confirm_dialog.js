// A dialog that asks before something is done.

import { el } from "../dom.js";
import { t } from "../i18n.js";
import { actionButton } from "./friendship_buttons.js";
import { openDialog } from "./dialog.js";

/** Opens it and returns it. `work` is done when the user agrees; an error is shown in the dialog. */
export function confirmDialog({ text, action, work }) {
  const dialog = openDialog({ aria: { label: action } }, el("p", {}, text), el("p", { class: "problem", role: "alert" }),
    el("div", { class: "actions" }, el("button", { type: "button", onclick: () => dialog.close() }, t("cancel")),
      actionButton(action, async () => { await work(); dialog.close(); }, "danger")));
  return dialog;
}

/** Asks before a person is blocked. */
export function confirmBlock(store, peer) {
  confirmDialog({ text: t("block_sure", { name: store.profiles.nameOf(peer) }), action: t("block"), work: () => store.blocks.add(peer) });
}
