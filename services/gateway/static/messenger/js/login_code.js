// The second step of a login, for the messenger and the operators' page.

import * as api from "./api.js";
import { codeField, recoverySwitch } from "./code_field.js";
import { el } from "./dom.js";
import { form } from "./forms.js";
import { t } from "./i18n.js";

/**
 * A form that asks for the code and logs in with it. `done()` is called then, `back(error)` where the user goes back, or
 * the password is not valid any more.
 */
export function loginCodeForm({ login, password, done, back }) {
  return form({
    title: t("two_step"), intro: t("totp_hint", { name: login }), action: t("log_in"),
    fields: [codeField("totp")],
    async submit({ totp }) {
      try {
        await api.logIn(login, password, totp);
      } catch (error) {
        if (error.code !== "invalid_credentials") throw error;
        return back(error);
      }
      return done();
    },
    more: [recoverySwitch("totp"), el("button", { class: "quiet", type: "button", onclick: () => back() }, t("back_to_login"))],
  });
}
