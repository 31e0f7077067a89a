// Dialogs of several steps that begin with the account's password.

import { el, fill } from "../../dom.js";
import { t } from "../../i18n.js";
import { openDialog } from "../dialog.js";

/** Where a form shows that the password is wrong. */
export const WRONG_PASSWORD = { invalid_credentials: ["password", "e_wrong_password"] };

/** The field for the account's password. */
export function passwordField() {
  return ["password", t("password"), { type: "password", autocomplete: "current-password", required: true }];
}

/** A dialog whose content is shown step by step; it closes when the user leaves the view, unless `staysOpen` is set. */
export function openSteps(label) {
  const leaving = new AbortController(), { signal } = leaving;
  const node = openDialog({ class: "steps", aria: { label: t(label) } });
  const dialog = {
    node,
    staysOpen: false,
    close: () => node.close(),
    cancel: () => el("button", { type: "button", class: "quiet", onclick: () => node.close() }, t("cancel")),
    show(...content) {
      // It was closed while the answer was awaited.
      if (!node.open) return;
      fill(node, content);
      (node.querySelector("input:not([type=checkbox])") ?? node.querySelector("h2")).focus();
      node.scrollTop = 0;
    },
  };
  node.addEventListener("cancel", (event) => { if (dialog.staysOpen) event.preventDefault(); });
  node.addEventListener("close", () => {
    if (dialog.staysOpen) {
      // Browsers close a dialog at the second Esc whatever its page says.
      document.body.append(node);
      return node.showModal();
    }
    leaving.abort();
    fill(node);
  });
  addEventListener("hashchange", () => { if (!dialog.staysOpen) node.close(); }, { signal });
  // The browser may keep the page itself for the way back.
  addEventListener("pagehide", () => { dialog.staysOpen = false; node.close(); }, { signal });
  return dialog;
}
