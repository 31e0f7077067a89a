// The token of a mail, where the page can show the mails of a development machine.

import { el, fill } from "../dom.js";
import { t } from "../i18n.js";

/** Puts the token into the form's field. */
export function enterToken(page, token) {
  const input = page.querySelector("[name=token]");
  input.value = token;
  input.dispatchEvent(new Event("input"));
}

/**
 * A button that shows the newest mail to the address in `container`, and passes its token to `onToken`. Mails are kept in a
 * folder on a development machine; elsewhere the button stays hidden.
 */
export function showMail(email, container, onToken) {
  const button = el("button", { class: "quiet", type: "button", hidden: true, onclick: async () => {
    const answer = await fetch(`/dev/mail?to=${encodeURIComponent(email)}`, { cache: "no-store" }).catch(() => null);
    const [mail] = answer?.ok ? (await answer.json()).items : [];
    container.hidden = false;
    if (!mail) return fill(container, el("p", { role: "status" }, t("no_mail")));
    fill(container, el("p", { class: "soft" }, t("mail_shown")), el("pre", { tabindex: "0" }, mail.text));
    const token = /^Token: (\S+)$/m.exec(mail.text)?.[1];
    if (token) onToken(token);
  } }, t("show_mail"));
  fetch("/dev/mail", { cache: "no-store" }).then((answer) => { button.hidden = !answer.ok; }, () => {});
  return button;
}
