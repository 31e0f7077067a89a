// The pages before the operators' page: the login, and why access is denied.

import * as api from "../api.js";
import { changePreference } from "../preferences.js";
import { el, fill } from "../dom.js";
import { form } from "../forms.js";
import { currentLanguage, LANGUAGES, t } from "../i18n.js";
import { loginCodeForm } from "../login_code.js";
import { say } from "./i18n.js";

/** Asks for login and password, and for the code where the account has two-step verification; `done()` is called then. */
export function showLogin(app, intro, done) {
  const panel = el("main", { class: "panel", id: "main" });
  document.title = `${say("title")} · ${t("app")}`;
  fill(app, el("div", { class: "welcome" },
    el("header", {}, el("img", { src: "/web/icon.svg", alt: "", width: 56, height: 56 }), el("h1", {}, t("app")), el("p", { class: "soft" }, say("title"))),
    panel,
    el("footer", {}, Object.entries(LANGUAGES).map(([code, name]) => el("button", { class: "quiet", type: "button", lang: code, aria: { pressed: String(code === currentLanguage()) }, onclick: () => changePreference("language", code) }, name)))));
  askPassword();

  function show(page) {
    fill(panel, page);
    panel.querySelector("input").focus();
    return page;
  }

  function askPassword(login = "", error = null) {
    const page = show(form({
      title: say("log_in"), intro: intro || say("log_in_hint"), action: t("log_in"),
      fields: [["login", t("login"), { autocomplete: "username", required: true, value: login }], ["password", t("password"), { type: "password", autocomplete: "current-password", required: true }]],
      async submit(values) {
        try {
          await api.logIn(values.login, values.password);
        } catch (refused) {
          if (refused.code !== "totp_required") throw refused;
          return void show(loginCodeForm({ ...values, done, back: (reason) => askPassword(values.login, reason) }));
        }
        await done();
      },
    }));
    if (error) page.refuse(error);
  }
}

// Why the page stays closed, by the code of the refusal.
const REASONS = { not_found: "no_page", second_factor_required: "no_code" };

/** Says why the page stays closed for a user who is logged in. `again()` tries once more. */
export function showDenied(app, error, { again, logOut }) {
  const why = REASONS[error.code] ?? "denied";
  document.title = `${say("title")} · ${t("app")}`;
  fill(app, el("div", { class: "welcome" }, el("main", { class: "panel deny", id: "main" },
    el("h1", {}, say(why)),
    el("p", { class: "said" }, say(`${why}_hint`)),
    why === "denied" && el("code", {}, "vestnik operators add USERNAME"),
    el("div", { class: "row-actions" },
      why === "no_code" ? el("a", { class: "button primary", href: "/settings" }, t("two_step")) : el("button", { class: "primary", type: "button", onclick: again }, say("try_again")),
      why !== "no_code" && el("a", { class: "button", href: "/" }, say("messenger")),
      el("button", { type: "button", onclick: logOut }, say("log_out"))))));
}
