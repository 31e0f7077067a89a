// The card that changes the password.

import * as api from "../../api.js";
import { el } from "../../dom.js";
import { form } from "../../forms.js";
import { t } from "../../i18n.js";

/** `changed` is called once the password is changed, which ends all other sessions. */
export function passwordCard(store, changed) {
  const card = form({
    title: t("change_password"), level: "h3", action: t("save"),
    fields: [
      ["current_password", t("current_password"), { type: "password", autocomplete: "current-password", required: true }],
      ["new_password", t("new_password"), { type: "password", autocomplete: "new-password", required: true, rule: "password", hint: t("password_hint") }],
    ],
    errors: { invalid_credentials: ["current_password", "e_wrong_current_password"] },
    async submit(values) {
      await store.notifications.asOwnAct("password_changed", () => api.put("/v1/users/me/password", values));
      card.reset();
      changed();
      return t("password_changed");
    },
  });
  return el("div", { class: "card" }, card);
}
