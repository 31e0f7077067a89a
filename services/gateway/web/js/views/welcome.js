// Before anybody is logged in: log in, register, verify the address or refuse to, set a new password.

import * as api from "../api.js";
import { choose } from "../preferences.js";
import { el, fill } from "../dom.js";
import { currentLanguage, LANGUAGES, reason, t } from "../i18n.js";

/** `mailed`: page and token of a mail whose link was opened; `settled` is called once the token was used or refused. */
export function welcome(app, { entered, note, mailed, settled }) {
  const panel = el("main", { class: "panel", id: "main" });
  const pages = { login, register, verify, registration, reset, confirm };
  fill(app, el("div", { class: "welcome" },
    el("header", {}, el("img", { src: "/web/icon.svg", alt: "", width: 56, height: 56 }), el("h1", {}, t("app")), el("p", { class: "soft" }, t("tagline"))),
    panel,
    el("footer", {}, Object.entries(LANGUAGES).map(([code, name]) =>
      el("button", { class: "quiet", type: "button", lang: code, aria: { pressed: String(code === currentLanguage()) }, onclick: () => choose("language", code) }, name)))));
  if (mailed) go(mailed.page, { token: mailed.token });
  else go("login", note ? { said: note } : {});

  function go(page, values = {}) {
    fill(panel, pages[page](values));
    panel.querySelector("input")?.focus();
  }

  function login({ login = "", said = "" }) {
    return form({
      title: t("log_in"), said, action: t("log_in"),
      fields: [["login", t("login"), { autocomplete: "username", required: true, value: login }], ["password", t("password"), { type: "password", autocomplete: "current-password", required: true }]],
      async submit(values) {
        try {
          await api.logIn(values.login, values.password);
        } catch (error) {
          if (error.code !== "email_not_verified") throw error;
          return go("verify", { email: values.login.includes("@") ? values.login : "", login: values.login, password: values.password });
        }
        entered();
      },
      more: [link(t("no_account"), t("register"), () => go("register")), link("", t("forgot"), () => go("reset"))],
    });
  }

  function register() {
    return form({
      title: t("register"), action: t("register"),
      fields: [
        ["email", t("email"), { type: "email", autocomplete: "email", required: true, maxlength: 254 }],
        ["username", t("username"), { autocomplete: "username", required: true, minlength: 3, maxlength: 32, pattern: "[A-Za-z0-9_.]+", hint: t("username_hint"), autocapitalize: "none", spellcheck: "false" }],
        ["display_name", t("display_name"), { autocomplete: "name" }],
        ["password", t("password"), { type: "password", autocomplete: "new-password", required: true, minlength: 8, hint: t("password_hint") }],
      ],
      async submit(values) {
        const body = { email: values.email, username: values.username, password: values.password, language: currentLanguage() };
        if (values.display_name.trim()) body.display_name = values.display_name.trim();
        await api.ask("POST", "/v1/users", { body, open: true });
        go("verify", { email: values.email, login: values.username, password: values.password });
      },
      more: [link(t("have_account"), t("log_in"), () => go("login"))],
    });
  }

  function verify({ email, login, password }) {
    const mail = el("div", { class: "mail", hidden: true });
    const page = form({
      title: t("verify_title"), said: t("verify_hint", { email: email || login }), action: t("verify"),
      fields: [["token", t("token"), { required: true, autocomplete: "one-time-code", spellcheck: "false" }]],
      async submit(values) {
        await api.ask("POST", "/v1/users/verify-email", { body: { token: values.token.trim(), ...(password ? { password } : {}) }, open: true });
        if (!password) return go("login", { login });
        await api.logIn(login, password);
        entered();
      },
      more: [
        email && showMail(email, mail, (token) => { page.querySelector("input").value = token; }),
        email && el("button", { class: "quiet", type: "button", onclick: async ({ target }) => {
          await api.ask("POST", "/v1/users/resend-verification", { body: { email }, open: true }).then(() => { target.textContent = t("resent"); }, (error) => { target.textContent = reason(error); });
        } }, t("resend")),
        el("button", { class: "quiet", type: "button", onclick: () => go("login", { login }) }, t("back_to_login")),
        mail,
      ],
    });
    return page;
  }

  /** Whose registration a mailed token is for, and whether to confirm it. */
  function registration({ token }) {
    const place = el("div", {}, el("p", { class: "soft", role: "status" }, t("loading")));
    const done = (values) => { settled(); go("login", values); };
    api.ask("POST", "/v1/users/verify-email/registration", { body: { token }, open: true }).then((found) => {
      const name = found.username;
      if (found.verified) return done({ login: name, said: t("confirmed", { name }) });
      const page = form({
        title: t("confirm_title", { name }), said: t(found.needs_password ? "confirm_several" : "confirm_hint", { name }), action: t("confirm_yes"),
        fields: found.needs_password ? [["password", t("password"), { type: "password", autocomplete: "current-password", required: true }]] : [],
        async submit(values) {
          try {
            await api.ask("POST", "/v1/users/verify-email", { body: { token, ...values }, open: true });
          } catch (error) {
            // Another registration has come in between.
            if (error.code === "password_required" && !found.needs_password) return go("registration", { token });
            throw error;
          }
          done({ login: name, said: t("confirmed", { name }) });
        },
        more: [el("button", { class: "quiet", type: "button", onclick: async () => {
          try {
            await api.ask("POST", "/v1/users/verify-email/not-me", { body: { token }, open: true });
          } catch (error) {
            page.querySelector(".problem").textContent = reason(error);
            return;
          }
          done({ said: t("not_me_done", { name }) });
        } }, t("not_me"))],
      });
      fill(place, page);
      page.querySelector("input, button")?.focus();
    }).catch((error) => {
      if (!error.passing) return done({ said: reason(error) });
      fill(place, el("p", { class: "problem", role: "alert" }, reason(error)), el("button", { class: "quiet", type: "button", onclick: () => go("registration", { token }) }, t("retry")));
    });
    return place;
  }

  function reset() {
    return form({
      title: t("reset_title"), action: t("reset_ask"),
      fields: [["email", t("email"), { type: "email", autocomplete: "email", required: true }]],
      async submit({ email }) {
        await api.ask("POST", "/v1/users/password-reset", { body: { email }, open: true });
        go("confirm", { email });
      },
      more: [el("button", { class: "quiet", type: "button", onclick: () => go("login") }, t("back_to_login"))],
    });
  }

  /** `token`: of the mail whose link was opened; else it has to be typed. */
  function confirm({ email = "", token = "" }) {
    const mail = el("div", { class: "mail", hidden: true });
    const page = form({
      title: t("reset_title"), said: t(token ? "reset_linked" : "reset_hint"), action: t("reset_confirm"),
      fields: [...(token ? [] : [["token", t("token"), { required: true, autocomplete: "one-time-code", spellcheck: "false" }]]), ["new_password", t("new_password"), { type: "password", autocomplete: "new-password", required: true, minlength: 8, hint: t("password_hint") }]],
      async submit(values) {
        await api.ask("POST", "/v1/users/password-reset/confirm", { body: { token: token || values.token.trim(), new_password: values.new_password }, open: true });
        settled?.();
        go("login", { login: email, said: t("reset_done") });
      },
      more: [
        token ? link("", t("reset_again"), () => { settled(); go("reset"); }) : showMail(email, mail, (found) => { page.querySelector("input").value = found; }),
        el("button", { class: "quiet", type: "button", onclick: () => { settled?.(); go("login"); } }, t("back_to_login")), mail,
      ],
    });
    return page;
  }
}

/** In development mails lie in a folder: the newest one is shown. Elsewhere nobody finds this button. */
function showMail(email, place, found) {
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

function link(before, text, go) {
  return el("p", { class: "soft" }, before ? `${before} ` : "", el("button", { class: "link", type: "button", onclick: go }, text));
}

/** A form with labelled fields, one action, and a place for what went wrong. */
export function form({ title, said, fields, action, submit, more = [], level = "h2" }) {
  const problem = el("p", { class: "problem", role: "alert" });
  const button = el("button", { class: "primary", type: "submit" }, action);
  const node = el("form", { novalidate: false, onsubmit: async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = "";
    try {
      await submit(Object.fromEntries(new FormData(node)), node);
    } catch (error) {
      problem.textContent = reason(error);
    } finally {
      button.disabled = false;
    }
  } },
  title && el(level, {}, title),
  said && el("p", { class: "said", role: "status" }, said),
  fields.map(([name, label, { hint, tag = "input", ...props }]) => {
    const id = `field-${name}`;
    return el("div", { class: "field" }, el("label", { for: id }, label),
      el(tag, { id, name, ...props, ...(hint ? { aria: { describedby: `${id}-hint` } } : {}) }),
      hint && el("small", { id: `${id}-hint` }, hint));
  }),
  problem, button, more);
  return node;
}
