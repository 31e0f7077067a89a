// What the links in mails open. None of these pages changes anything before its reader agrees, since programs that check
// mails open links, too.

import * as api from "../api.js";
import { el, fill } from "../dom.js";
import { form } from "../forms.js";
import { errorText, t } from "../i18n.js";
import { rememberRegistration } from "../preferences.js";

const TOKEN = { required: true, autocomplete: "one-time-code", autocapitalize: "none", spellcheck: "false" };
const PASSWORD = { type: "password", autocomplete: "current-password", required: true };

const post = (path, body) => api.request("POST", path, { body, anonymous: true });

/** The pages by name, each of a token. `go(page, values)` shows another page; `settled()`: the token was used or refused. */
export function mailedPages({ go, settled }) {
  return { registration, undo, not_me: notMe, done };

  /** What a mailed token is for: a registration, or another address of an account. */
  function registration({ token }) {
    const container = el("div", {}, el("p", { class: "soft", role: "status" }, t("loading")));
    post("/v1/users/verify-email/registration", { token }).then((details) => {
      const page = details.change ? change(token, details) : confirmation(token, details);
      // It was confirmed already.
      if (!page) return;
      fill(container, page);
      page.querySelector("input, button").focus();
    }).catch((error) => {
      if (!error.passing) return goToLogin({ intro: errorText(error) });
      fill(container, el("p", { class: "problem", role: "alert" }, errorText(error)), el("button", { class: "quiet", type: "button", onclick: () => go("registration", { token }) }, t("retry")));
    });
    return container;
  }

  function confirmation(token, { username: name, verified, needs_password: needsPassword }) {
    const confirmed = () => goToLogin({ login: name, intro: t("confirmed", { name }) });
    if (verified) return confirmed();
    const page = form({
      title: t("confirm_title", { name }), intro: t(needsPassword ? "confirm_several" : "confirm_hint", { name }), action: t("confirm_yes"),
      fields: needsPassword ? [["password", t("password"), PASSWORD]] : [],
      async submit(values) {
        try {
          await post("/v1/users/verify-email", { token, ...values });
        } catch (error) {
          // Another registration has come in between.
          if (error.code === "password_required" && !needsPassword) return go("registration", { token });
          throw error;
        }
        confirmed();
      },
      more: [notMeButton(token, () => goToLogin({ intro: t("not_me_done", { name }) }), (error) => page.refuse(error))],
    });
    return page;
  }

  /** Another address of an account, which its password confirms. */
  function change(token, { username: name, verified }) {
    const changed = () => showDone("change_email", "email_changed", { name });
    if (verified) return changed();
    const page = form({
      title: t("change_title", { name }), intro: t("change_hint", { name }), action: t("confirm_yes"),
      fields: [["password", t("password"), PASSWORD]],
      errors: { invalid_credentials: ["password", "e_wrong_password"] },
      async submit({ password }) {
        await post("/v1/users/verify-email", { token, password });
        changed();
      },
      more: [notMeButton(token, () => showDone("change_email", "change_cancelled", { name }), (error) => page.refuse(error))],
    });
    return page;
  }

  /** Of the mail to the earlier address of an account; without a token in the address it has to be entered. */
  function undo({ token }) {
    return form({
      title: t("undo_title"), intro: t("undo_hint"), action: t("undo_yes"), fields: token ? [] : [["token", t("token"), TOKEN]],
      async submit(values) {
        await post("/v1/users/undo-email-change", { token, ...values });
        showDone("undo_title", "undo_done");
      },
      more: [leaveLink()],
    });
  }

  /** Of the mail about a login or a change that the account's owner did not make. */
  function notMe({ token }) {
    return form({
      title: t("not_me_title"), intro: t("not_me_hint"), action: t("not_me_yes"), fields: [],
      async submit() {
        const { reset_token: reset } = await post("/v1/users/not-me", { token });
        go("confirm", { token: reset });
      },
      more: [leaveLink()],
    });
  }

  /** A page that says what was done, and leads to the messenger; `text`: key and values, for another language. */
  function done({ title, text }) {
    return el("div", {}, el("h2", { tabindex: "-1" }, t(title)), el("p", { class: "said", role: "status" }, t(...text)), el("a", { class: "button primary", href: "/" }, t("to_messenger")));
  }

  function showDone(title, ...text) {
    settled();
    go("done", { title, text });
  }

  function goToLogin(values) {
    settled();
    rememberRegistration(null);
    go("login", values);
  }

  /** The button of a reader who did not ask for this. */
  function notMeButton(token, done, refuse) {
    return el("button", { class: "quiet", type: "button", onclick: () => post("/v1/users/verify-email/not-me", { token }).then(done, refuse) }, t("not_me"));
  }

  /** Leaves the page without doing anything; the link in the mail stays good. */
  function leaveLink() {
    return el("a", { class: "button quiet", href: "/" }, t("do_nothing"));
  }
}
