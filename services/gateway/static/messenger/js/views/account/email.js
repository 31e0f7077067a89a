// The card of the account's e-mail address, and the dialog that changes it.

import * as api from "../../api.js";
import { el, fill } from "../../dom.js";
import { form } from "../../forms.js";
import { errorText, t } from "../../i18n.js";
import { enterToken, showMail } from "../mail_preview.js";
import { openSteps, passwordField, WRONG_PASSWORD } from "./steps.js";

const EMAIL = { inputmode: "email", autocomplete: "email", autocapitalize: "none", spellcheck: "false", required: true, rule: "email" };
const TOKEN = { required: true, autocomplete: "one-time-code", autocapitalize: "none", spellcheck: "false" };

export function emailCard(store) {
  const state = el("div", { class: "state" }), outcome = el("p", { class: "outcome", role: "status" }), problem = el("p", { class: "problem", role: "alert" });
  const node = el("div", { class: "card" }, el("h3", {}, t("email")), state, outcome, problem);

  function change() {
    outcome.textContent = "";
    const dialog = openEmailChange(store, (email) => { outcome.textContent = t("email_changed_own", { email }); });
    dialog.addEventListener("close", () => state.querySelector("button")?.focus());
  }

  function draw() {
    const { details, error } = store.account, focused = state.contains(document.activeElement);
    problem.textContent = error ? errorText(error) : "";
    fill(state, details && el("p", { class: "address" }, details.email), details && el("button", { type: "button", onclick: change }, t("change_email")),
      !details && !error && el("p", { class: "soft" }, t("loading")));
    if (focused) state.querySelector("button")?.focus();
  }

  draw();
  return { node, draw };
}

/** Opens the dialog: the new address and the password, then the token of the mail to it. `changed(email)` is called then. */
function openEmailChange(store, changed) {
  const dialog = openSteps("change_email");
  dialog.show(form({
    title: t("change_email"), intro: t("change_email_hint"), action: t("continue"), errors: WRONG_PASSWORD,
    fields: [["email", t("new_email"), EMAIL], passwordField()],
    async submit(values) {
      await api.put("/v1/users/me/email", values);
      confirm(values);
    },
    more: [dialog.cancel()],
  }));

  /** The reader of the mail may open its link instead. */
  function confirm({ email, password }) {
    const mail = el("div", { class: "mail", hidden: true });
    const step = form({
      title: t("verify_title"), intro: t("change_email_mailed", { email }), action: t("confirm_yes"),
      errors: { invalid_credentials: ["token", "e_password_changed"] },
      fields: [["token", t("token"), TOKEN]],
      async submit({ token }) {
        await store.notifications.asOwnAct("email_changed", () => api.request("POST", "/v1/users/verify-email", { body: { token, password }, anonymous: true }));
        await store.account.load();
        dialog.close();
        changed(email);
      },
      more: [showMail(email, mail, (token) => enterToken(step, token)), dialog.cancel(), mail],
    });
    dialog.show(step);
  }

  return dialog.node;
}
