// The dialogs that turn two-step verification on and off. The secret and the recovery codes are in the dialog alone, and
// only while it is open.

import * as api from "../../api.js";
import { copy } from "../../clipboard.js";
import { appCodeField, codeField, recoverySwitch } from "../../code_field.js";
import { el } from "../../dom.js";
import { form } from "../../forms.js";
import { t } from "../../i18n.js";
import { qrCode } from "./qr_code.js";
import { openSteps, passwordField, WRONG_PASSWORD } from "./steps.js";

const ERRORS = { ...WRONG_PASSWORD, invalid_totp: ["code", "e_invalid_totp"] };

/** Opens a dialog of steps: the password, the secret and its first code, the recovery codes. */
export function openTwoStepSetup(store) {
  const dialog = openSteps("two_step");
  dialog.show(form({
    title: t("two_step_set_up"), intro: t("two_step_password"), action: t("continue"), errors: ERRORS,
    fields: [passwordField()],
    submit: async ({ password }) => confirm(await api.post("/v1/users/me/totp", { password })),
    more: [dialog.cancel()],
  }));

  function confirm({ secret, otpauth_uri: uri, qr_code: rows }) {
    const step = form({
      title: t("two_step_scan"), intro: t("two_step_scan_hint"), action: t("two_step_turn_on"), errors: ERRORS,
      fields: [appCodeField("code")],
      async submit({ code }) {
        const { recovery_codes: codes } = await store.notifications.asOwnAct("two_factor_on", () => api.post("/v1/users/me/totp/confirm", { code }));
        store.account.load();
        showCodes(codes);
      },
      more: [dialog.cancel()],
    });
    const status = el("p", { class: "outcome", role: "status" });
    step.querySelector(".field").before(qrCode(rows, t("two_step_qr")),
      el("p", { class: "soft" }, t("two_step_secret")),
      el("code", { class: "key", dir: "ltr", translate: "no" }, secret.match(/.{1,4}/g).join(" ")),
      el("div", { class: "actions" },
        el("button", { type: "button", onclick: () => copy(secret).then(() => { status.textContent = t("copied"); }) }, t("copy_secret")),
        el("a", { class: "button", href: uri }, t("open_app"))),
      status);
    dialog.show(step);
  }

  function showCodes(codes) {
    const name = store.account.details.username;
    const text = [t("recovery_file", { name, host: location.host }), "", ...codes, ""].join("\n");
    const status = el("p", { class: "outcome", role: "status" });
    const done = el("button", { type: "button", class: "primary", disabled: true, onclick: () => dialog.close() }, t("done"));
    dialog.staysOpen = true;
    dialog.show(el("h2", { tabindex: "-1" }, t("recovery_codes")), el("p", {}, t("recovery_codes_hint")),
      el("ol", { class: "codes", dir: "ltr", translate: "no" }, codes.map((code) => el("li", {}, el("code", {}, code)))),
      el("div", { class: "actions" },
        el("button", { type: "button", onclick: () => copy(text).then(() => { status.textContent = t("copied"); }) }, t("copy_codes")),
        el("button", { type: "button", onclick: () => download(text, `vestnik-${name}.txt`) }, t("download"))),
      status,
      el("label", { class: "check" }, el("input", { type: "checkbox", onchange: ({ target }) => { done.disabled = !target.checked; dialog.staysOpen = !target.checked; } }), t("recovery_saved")),
      done);
  }

  return dialog.node;
}

/** Opens a dialog that turns it off. */
export function openTwoStepEnd(store) {
  const dialog = openSteps("two_step_turn_off");
  dialog.show(form({
    title: t("two_step_turn_off"), intro: t("two_step_off_hint"), action: t("two_step_turn_off"), errors: ERRORS,
    fields: [passwordField(), codeField("code")],
    async submit(body) {
      await store.notifications.asOwnAct("two_factor_off", () => api.request("DELETE", "/v1/users/me/totp", { body }));
      await store.account.load();
      dialog.close();
    },
    more: [recoverySwitch("code"), dialog.cancel()],
  }));
  return dialog.node;
}

function download(text, name) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  el("a", { href: url, download: name }).click();
  URL.revokeObjectURL(url);
}
