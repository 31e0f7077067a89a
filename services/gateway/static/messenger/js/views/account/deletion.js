// The card that deletes the account, and the dialog that asks for the password.

import { el } from "../../dom.js";
import { form } from "../../forms.js";
import { t } from "../../i18n.js";
import { openSteps, passwordField, WRONG_PASSWORD } from "./steps.js";

/** `deleteAccount(password)` requests the deletion, and leaves this page. */
export function deletionCard(deleteAccount) {
  const button = el("button", { type: "button", class: "danger", onclick: ask }, t("delete_account"));

  function ask() {
    const dialog = openSteps("delete_account");
    dialog.node.addEventListener("close", () => button.focus());
    dialog.show(form({
      title: t("delete_account"), intro: t("delete_account_sure"), action: t("delete_account"), errors: WRONG_PASSWORD,
      fields: [passwordField()],
      submit: ({ password }) => deleteAccount(password),
      more: [dialog.cancel()],
    }));
  }

  return { node: el("div", { class: "card" }, el("h3", {}, t("delete_account")), el("p", { class: "soft" }, t("delete_account_hint")), button) };
}
