// One's profile, the look of things, where one is logged in, the password.

import * as api from "../api.js";
import { choose, chosen } from "../preferences.js";
import { avatar, el, fill } from "../dom.js";
import { form } from "../forms.js";
import { ago, currentLanguage, full, LANGUAGES, reason, t } from "../i18n.js";
import { alertsSettings } from "./alerts_settings.js";
import { blockedPeople } from "./blocked_people.js";

export function settingsView(store, logOut) {
  const profile = el("div", { class: "card" }), sessions = sessionsCard(), blocked = blockedPeople(store), presenceCard = presenceSetting(store);
  const node = el("section", { class: "page" }, el("div", { class: "title" }, el("h2", {}, t("settings")), el("button", { type: "button", onclick: logOut }, t("log_out"))),
    profile, appearance(store), presenceCard.node, alertsSettings(), sessions.node, blocked.node, password());

  function drawProfile(said = "") {
    const mine = store.profiles.get(store.me.user_id);
    if (!mine) return fill(profile, el("p", { class: "soft" }, t("loading")));
    const card = form({
      title: t("profile"), level: "h3", action: t("save"),
      fields: [
        ["display_name", t("display_name"), { value: mine.display_name, required: true, dir: "auto", rule: "display_name", hint: t("display_name_hint") }],
        ["bio", t("bio"), { tag: "textarea", rows: 3, value: mine.bio ?? "", dir: "auto", rule: "bio", hint: t("bio_hint"), count: true }],
      ],
      async submit(values) {
        await store.profiles.changeOwn(values);
        drawProfile(t("saved"));
        profile.querySelector("button[type=submit]").focus();
      },
    });
    card.prepend(el("div", { class: "row" }, avatar(mine, "large"), el("div", {}, el("strong", {}, mine.display_name || mine.username), el("p", { class: "soft" }, `@${mine.username}${mine.verified ? ` · ${t("verified")}` : ""}`))));
    fill(profile, card);
    card.say(said);
  }

  function password() {
    const card = form({
      title: t("change_password"), level: "h3", action: t("save"),
      fields: [
        ["current_password", t("current_password"), { type: "password", autocomplete: "current-password", required: true }],
        ["new_password", t("new_password"), { type: "password", autocomplete: "new-password", required: true, rule: "password", hint: t("password_hint") }],
      ],
      errors: { invalid_credentials: ["current_password", "e_wrong_current_password"] },
      async submit(values) {
        await api.put("/v1/users/me/password", values);
        card.reset();
        sessions.draw();
        return t("password_changed");
      },
    });
    return el("div", { class: "card" }, card);
  }

  drawProfile();
  sessions.draw();
  return { node, update: (kind) => {
    if (kind === "profile" && !profile.contains(document.activeElement)) drawProfile();
    if (kind === "profile") presenceCard.draw();
    if (kind === "sessions") sessions.draw();
    if (kind === "blocks" || (kind === "profile" && !blocked.node.contains(document.activeElement))) blocked.draw();
  } };
}

/** Where one is logged in: this device first, the others to be ended. */
function sessionsCard() {
  const status = el("p", { class: "outcome", role: "status", tabindex: "-1" }), problem = el("p", { class: "problem", role: "alert" }), list = el("div");
  const node = el("div", { class: "card" }, el("h3", {}, t("sessions")), status, problem, list);

  function row(one) {
    const device = deviceName(one.device);
    return el("li", { class: "person session" },
      el("div", {}, el("span", { class: "who" }, device), one.current && el("strong", { class: "here" }, t("this_session")),
        el("span", { class: "soft" }, [one.address, at("begun", one.created_at), at("last_used", one.last_refreshed_at)].filter(Boolean).flatMap((part, place) => (place ? [" · ", part] : [part])))),
      !one.current && el("div", { class: "actions" }, el("button", { type: "button", aria: { label: `${t("revoke")}: ${device}` }, onclick: ending(`/v1/sessions/${one.session_id}`, t("revoked", { device })) }, t("revoke"))));
  }

  async function draw() {
    try {
      const { items } = await api.all("/v1/sessions");
      items.sort((one, other) => other.current - one.current);
      fill(list, el("ul", { class: "persons" }, items.map(row)),
        items.length > 1 && el("button", { class: "danger", type: "button", onclick: ending("/v1/sessions", t("revoked_others")) }, t("revoke_others")));
      problem.textContent = "";
    } catch (error) {
      problem.textContent = reason(error);
    }
  }

  /** Ends what is at the path, and says so. */
  function ending(path, said) {
    return async ({ currentTarget: button }) => {
      button.disabled = true;
      status.textContent = problem.textContent = "";
      try {
        await api.remove(path);
        status.textContent = said;
        await draw();
        status.focus();
      } catch (error) {
        await draw();
        problem.textContent = reason(error);
        problem.scrollIntoView({ block: "nearest" });
      }
    };
  }

  return { node, draw };
}

/** What our own page calls itself, in words; the name that another client has given itself. */
function deviceName(device) {
  const [, browser, system] = /^Vestnik web, (\w+)(?:, (\w+))?$/.exec(device) ?? [];
  return system ? t("device_web", { browser, system }) : browser || device || t("unknown_device");
}

/** How long ago it was, with the moment as its title. */
function at(key, when) {
  return el("time", { datetime: when, title: full(when) }, t(key, { when: ago(when) }));
}

/** Who sees when the user is online. */
function presenceSetting(store) {
  const problem = el("p", { class: "problem", role: "alert" }), field = el("div");
  const node = el("div", { class: "card" }, el("h3", {}, t("presence")), field, el("p", { class: "soft" }, t("presence_hint")), problem);

  function draw() {
    const mine = store.profiles.get(store.me.user_id);
    // Not loaded yet.
    node.hidden = !mine?.presence;
    if (node.hidden || field.contains(document.activeElement)) return;
    fill(field, select("presence", t("presence_label"), [["friends", t("friends")], ["nobody", t("nobody")]], mine.presence, change));
  }

  async function change(presence) {
    problem.textContent = "";
    try {
      await store.profiles.changeOwn({ presence });
      store.presence.refresh();
    } catch (error) {
      problem.textContent = reason(error);
      field.querySelector("select").value = store.profiles.get(store.me.user_id).presence;
    }
  }

  draw();
  return { node, draw };
}

function select(id, label, options, value, change) {
  return el("div", { class: "field" }, el("label", { for: id }, label),
    el("select", { id, onchange: ({ target }) => change(target.value) }, options.map(([code, text]) => el("option", { value: code, ...(code === value ? { selected: true } : {}) }, text))));
}

function appearance(store) {
  const chooseLanguage = (language) => {
    // Without a connection it is saved later.
    store.profiles.changeLanguage(language).catch(() => {});
  };
  return el("div", { class: "card" }, el("h3", {}, t("appearance")),
    select("language", t("language"), Object.entries(LANGUAGES), currentLanguage(), chooseLanguage),
    select("theme", t("theme"), [["system", t("theme_system")], ["light", t("theme_light")], ["dark", t("theme_dark")]], chosen("theme") ?? "system", (theme) => choose("theme", theme)));
}
