// The field for the second step of a login: a code of the authenticator app, or a recovery code.

import { el } from "./dom.js";
import { t } from "./i18n.js";

// `name` is also what the gateway calls it.
const FIELD = { required: true, compact: true, autocapitalize: "none", spellcheck: "false", dir: "ltr" };
const APP = { inputmode: "numeric", autocomplete: "one-time-code" };
const RECOVERY = { inputmode: "text", autocomplete: "off" };

/** A field of a form for a code of the app alone. */
export function appCodeField(name) {
  return [name, t("totp_code"), { ...FIELD, ...APP, rule: "code" }];
}

/** A field of a form for a code of the app, or a recovery code after `recoverySwitch` was pressed. */
export function codeField(name) {
  return [name, t("totp_code"), { ...FIELD, ...APP, rule: "totp" }];
}

/** The button that changes the field between the two kinds of codes. */
export function recoverySwitch(name) {
  let recovery = false;
  return el("button", { class: "quiet", type: "button", onclick: ({ currentTarget: button }) => {
    const input = button.form.elements[name];
    recovery = !recovery;
    for (const [attribute, value] of Object.entries(recovery ? RECOVERY : APP)) input.setAttribute(attribute, value);
    input.labels[0].textContent = t(recovery ? "recovery_code" : "totp_code");
    button.textContent = t(recovery ? "use_totp_code" : "use_recovery_code");
    input.value = "";
    input.focus();
  } }, t("use_recovery_code"));
}
