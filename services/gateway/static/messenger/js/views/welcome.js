// Before anybody is logged in: log in, register, verify the address, set a new password.

import * as api from "../api.js";
import { changePreference, pendingRegistration, rememberRegistration } from "../preferences.js";
import { el, fill } from "../dom.js";
import { form } from "../forms.js";
import { currentLanguage, LANGUAGES, t } from "../i18n.js";
import { loginCodeForm } from "../login_code.js";
import { enterToken, showMail } from "./mail_preview.js";
import { mailedPages } from "./mailed_pages.js";

// An address may have letters of any script, which a browser's own field for it does not take.
const EMAIL = { inputmode: "email", autocomplete: "email", autocapitalize: "none", spellcheck: "false" };
const TOKEN = { required: true, autocomplete: "one-time-code", autocapitalize: "none", spellcheck: "false" };
const PASSWORD = { type: "password", autocomplete: "current-password", required: true };
const NEW_PASSWORD = () => ({ type: "password", autocomplete: "new-password", required: true, rule: "password", hint: t("password_hint") });

// The name of the page that is shown and its values: a change of language shows the same page.
let currentPage = null;

/** `mailed`: page and token of a mail whose link was opened; `settled` is called once the token was used or refused. */
export function welcome(app, { entered, note, mailed, settled }) {
  const panel = el("main", { class: "panel", id: "main" });
  const pages = { login, code, register, verify, reset, confirm, ...mailedPages({ go, settled }) };
  const before = app.querySelector(".welcome"), typedValues = before?.querySelector("form") && new FormData(before.querySelector("form"));
  const language = before?.contains(document.activeElement) && document.activeElement.lang;
  fill(app, el("div", { class: "welcome" },
    el("header", {}, el("img", { src: "/web/icon.svg", alt: "", width: 56, height: 56 }), el("h1", {}, t("app")), el("p", { class: "soft" }, t("tagline"))),
    panel,
    el("footer", {}, Object.entries(LANGUAGES).map(([code, name]) =>
      el("button", { class: "quiet", type: "button", lang: code, aria: { pressed: String(code === currentLanguage()) }, onclick: () => changePreference("language", code) }, name)))));
  if (before && currentPage) redraw();
  else if (mailed) go(mailed.page, { token: mailed.token });
  else if (!note && pendingRegistration()) go("verify", pendingRegistration());
  else go("login", note ? { intro: note } : {});

  function go(page, values = {}) {
    currentPage = [page, values];
    fill(panel, pages[page](values));
    (panel.querySelector("input") ?? panel.querySelector("[tabindex]"))?.focus();
  }

  /** The same page in another language, with what was typed. */
  function redraw() {
    const [page, { intro, ...values }] = currentPage;
    go(page, values);
    for (const input of panel.querySelectorAll("[name]")) input.value = typedValues?.get(input.name) ?? input.value;
    if (language) app.querySelector(`footer [lang="${language}"]`).focus();
  }

  /** Shows how to verify the address of a registration, which is kept for a reload without its password. */
  function awaitVerification({ email, login, password }) {
    rememberRegistration({ email, login });
    go("verify", { email, login, password });
  }

  function login({ login = "", intro = "" }) {
    return form({
      title: t("log_in"), intro, action: t("log_in"),
      fields: [["login", t("login"), { autocomplete: "username", required: true, value: login }], ["password", t("password"), PASSWORD]],
      async submit(values) {
        try {
          await api.logIn(values.login, values.password);
        } catch (error) {
          if (error.code === "totp_required") return go("code", values);
          if (error.code !== "email_not_verified") throw error;
          return awaitVerification({ email: error.email || (values.login.includes("@") ? values.login : ""), ...values });
        }
        loggedIn();
      },
      more: [link(t("no_account"), t("register"), () => go("register")), link("", t("forgot"), () => go("reset"))],
    });
  }

  /** The second step of a login. */
  function code({ login, password }) {
    return loginCodeForm({ login, password, done: loggedIn, back: (error) => {
      go("login", { login });
      if (error) panel.querySelector("form").refuse(error);
    } });
  }

  function loggedIn() {
    // It may hold a password.
    currentPage = null;
    rememberRegistration(null);
    entered();
  }

  function register() {
    return form({
      title: t("register"), action: t("register"),
      fields: [
        ["email", t("email"), { ...EMAIL, required: true, rule: "email" }],
        ["username", t("username"), { autocomplete: "username", required: true, rule: "username", hint: t("username_hint"), autocapitalize: "none", spellcheck: "false" }],
        ["display_name", t("display_name"), { autocomplete: "name", rule: "display_name", hint: t("display_name_optional") }],
        ["password", t("password"), NEW_PASSWORD()],
      ],
      async submit(values) {
        const body = { email: values.email, username: values.username, password: values.password, language: currentLanguage() };
        if (values.display_name) body.display_name = values.display_name;
        await api.request("POST", "/v1/users", { body, anonymous: true });
        awaitVerification({ email: values.email, login: values.username, password: values.password });
      },
      more: [link(t("have_account"), t("log_in"), () => go("login"))],
    });
  }

  /** `needsPassword`: several registrations wait for the address, so that the password has to be typed. */
  function verify({ email, login, password, token = "", needsPassword = false }) {
    const mail = el("div", { class: "mail", hidden: true });
    const page = form({
      title: t("verify_title"), intro: email ? t("verify_hint", { email }) : t("verify_hint_named", { name: login }), action: t("verify"),
      fields: [["token", t("token"), { ...TOKEN, value: token }], ...(needsPassword ? [["password", t("password"), PASSWORD]] : [])],
      async submit(values) {
        const known = values.password ?? password;
        try {
          await api.request("POST", "/v1/users/verify-email", { body: { token: values.token, ...(known ? { password: known } : {}) }, anonymous: true });
        } catch (error) {
          if (error.code !== "password_required" || needsPassword) throw error;
          go("verify", { email, login, token: values.token, needsPassword: true });
          return panel.querySelector("form").refuse(error);
        }
        rememberRegistration(null);
        if (!known) return go("login", { login, intro: t("confirmed", { name: login }) });
        await api.logIn(login, known);
        loggedIn();
      },
      more: [
        email && showMail(email, mail, (token) => enterToken(page, token)),
        email && el("button", { class: "quiet", type: "button", onclick: () => api.request("POST", "/v1/users/resend-verification", { body: { email }, anonymous: true })
          .then(() => page.say(t("resent")), page.refuse) }, t("resend")),
        el("button", { class: "quiet", type: "button", onclick: () => { rememberRegistration(null); go("login", { login }); } }, t("back_to_login")),
        mail,
      ],
    });
    return page;
  }

  function reset() {
    return form({
      title: t("reset_title"), action: t("reset_ask"),
      fields: [["email", t("email"), { ...EMAIL, required: true, rule: "email" }]],
      async submit({ email }) {
        await api.request("POST", "/v1/users/password-reset", { body: { email }, anonymous: true });
        go("confirm", { email });
      },
      more: [el("button", { class: "quiet", type: "button", onclick: () => go("login") }, t("back_to_login"))],
    });
  }

  /** `token`: of the mail whose link was opened; else it has to be typed. */
  function confirm({ email = "", token = "" }) {
    const mail = el("div", { class: "mail", hidden: true });
    const page = form({
      title: t("reset_title"), intro: t(token ? "reset_linked" : "reset_hint"), action: t("reset_confirm"),
      fields: [...(token ? [] : [["token", t("token"), TOKEN]]), ["new_password", t("new_password"), NEW_PASSWORD()]],
      async submit(values) {
        await api.request("POST", "/v1/users/password-reset/confirm", { body: { token, ...values }, anonymous: true });
        settled?.();
        go("login", { login: email, intro: t("reset_done") });
      },
      more: [
        token ? link("", t("reset_again"), () => { settled(); go("reset"); }) : showMail(email, mail, (token) => enterToken(page, token)),
        el("button", { class: "quiet", type: "button", onclick: () => { settled?.(); go("login"); } }, t("back_to_login")), mail,
      ],
    });
    return page;
  }
}

function link(before, text, go) {
  return el("p", { class: "soft" }, before ? `${before} ` : "", el("button", { class: "link", type: "button", onclick: go }, text));
}
