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
 * A button that shows the newest mail to the address in `place`, and passes its token to `found`. Mails are kept in a
 * folder on a development machine; elsewhere the button stays hidden.
 */
export function showMail(email, place, found) {
  const button = el("button", { class: "quiet", type: "button", hidden: true, onclick: async () => {
    const answer = await fetch(`/dev/mail?to=${encodeURIComponent(email)}`, { cache: "no-store" }).catch(() => null);
    const [mail] = answer?.ok ? (await answer.json()).items : [];
    place.hidden = false;
    if (!mail) return fill(place, el("p", { role: "status" }, t("no_mail")));
    fill(place, el("p", { class: "soft" }, t("mail_shown")), el("pre", { tabindex: "0" }, mail.text));
    const token = /^Token: (\S+)$/m.exec(mail.text)?.[1];
    if (token) found(token);
  } }, t("show_mail"));
  fetch("/dev/mail", { cache: "no-store" }).then((answer) => { button.hidden = !answer.ok; }, () => {});
  return button;
}
