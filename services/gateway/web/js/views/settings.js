// One's profile, the look of things, where one is logged in, the password.

import * as api from "../api.js";
import { choose, chosen } from "../preferences.js";
import { avatar, el, fill } from "../dom.js";
import { currentLanguage, full, LANGUAGES, reason, t } from "../i18n.js";
import { form } from "./welcome.js";

export function settingsView(store, logOut) {
  const profile = el("div", { class: "card" }), sessions = el("div", { class: "card" });
  const node = el("section", { class: "page" }, el("div", { class: "title" }, el("h2", {}, t("settings")), el("button", { type: "button", onclick: logOut }, t("log_out"))),
    profile, appearance(), sessions, password());

  function drawProfile(said = "") {
    const mine = store.profile(store.me.user_id);
    if (!mine) return fill(profile, el("p", { class: "soft" }, t("loading")));
    fill(profile, form({
      title: t("profile"), level: "h3", said, action: t("save"),
      fields: [["display_name", t("display_name"), { value: mine.display_name, required: true, dir: "auto" }], ["bio", t("bio"), { tag: "textarea", rows: 3, value: mine.bio ?? "", dir: "auto" }]],
      async submit(values) {
        store.remember(await api.ask("PATCH", "/v1/profiles/me", { body: { display_name: values.display_name.trim(), bio: values.bio.trim().replace(/\r\n?/g, "\n") } }));
        drawProfile(t("saved"));
      },
    }));
    profile.firstChild.prepend(el("div", { class: "row" }, avatar(mine, "large"), el("div", {}, el("strong", {}, mine.display_name || mine.username), el("p", { class: "soft" }, `@${mine.username}${mine.verified ? ` · ${t("verified")}` : ""}`))));
  }

  async function drawSessions() {
    try {
      const { items } = await api.all("/v1/sessions");
      fill(sessions, el("h3", {}, t("sessions")), el("ul", { class: "persons" }, items.map((one) => el("li", { class: "person" },
        el("div", {}, el("span", { class: "who" }, one.device || t("unknown_device")), el("span", { class: "soft" }, one.current ? t("this_session") : t("last_used", { when: full(one.last_refreshed_at) }), ` · ${t("since", { when: full(one.created_at) })}`)),
        !one.current && el("div", { class: "actions" }, el("button", { type: "button", onclick: act(() => api.remove(`/v1/sessions/${one.session_id}`)) }, t("revoke")))))),
      items.length > 1 && el("button", { class: "danger", type: "button", onclick: act(() => api.remove("/v1/sessions")) }, t("revoke_others")));
    } catch (error) {
      fill(sessions, el("h3", {}, t("sessions")), el("p", { class: "problem", role: "alert" }, reason(error)));
    }
  }

  function act(work) {
    return async ({ currentTarget }) => {
      currentTarget.disabled = true;
      try {
        await work();
      } finally {
        await drawSessions();
      }
    };
  }

  function password() {
    const card = el("div", { class: "card" });
    const draw = (said) => fill(card, form({
      title: t("change_password"), level: "h3", said, action: t("save"),
      fields: [["current_password", t("current_password"), { type: "password", autocomplete: "current-password", required: true }], ["new_password", t("new_password"), { type: "password", autocomplete: "new-password", required: true, minlength: 8, hint: t("password_hint") }]],
      async submit(values) {
        await api.put("/v1/users/me/password", values);
        draw(t("password_changed"));
        drawSessions();
      },
    }));
    draw("");
    return card;
  }

  drawProfile();
  drawSessions();
  return { node, update: (kind) => {
    if (kind === "profile" && !profile.contains(document.activeElement)) drawProfile();
    if (kind === "sessions") drawSessions();
  } };
}

function appearance() {
  const select = (id, label, options, value, name) => el("div", { class: "field" }, el("label", { for: id }, label),
    el("select", { id, onchange: ({ target }) => choose(name, target.value) }, options.map(([code, text]) => el("option", { value: code, ...(code === value ? { selected: true } : {}) }, text))));
  return el("div", { class: "card" }, el("h3", {}, t("appearance")),
    select("language", t("language"), Object.entries(LANGUAGES), currentLanguage(), "language"),
    select("theme", t("theme"), [["system", t("theme_system")], ["light", t("theme_light")], ["dark", t("theme_dark")]], chosen("theme") ?? "system", "theme"));
}
