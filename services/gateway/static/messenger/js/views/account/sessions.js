// The card of the user's active sessions: this device first, the others can be ended.

import * as api from "../../api.js";
import { el, fill } from "../../dom.js";
import { ago, errorText, fullTime, t } from "../../i18n.js";

export function sessionsCard() {
  const status = el("p", { class: "outcome", role: "status", tabindex: "-1" }), problem = el("p", { class: "problem", role: "alert" }), list = el("div");
  const node = el("div", { class: "card" }, el("h3", {}, t("sessions")), status, problem, list);

  function row(session) {
    const device = deviceName(session.device);
    return el("li", { class: "person session" },
      el("div", {}, el("span", { class: "who" }, device), session.current && el("strong", { class: "here" }, t("this_session")),
        el("span", { class: "soft" }, [session.address, at("begun", session.created_at), at("last_used", session.last_refreshed_at)].filter(Boolean).flatMap((part, index) => (index ? [" · ", part] : [part])))),
      !session.current && el("div", { class: "actions" }, el("button", { type: "button", aria: { label: `${t("revoke")}: ${device}` }, onclick: endHandler(`/v1/sessions/${session.session_id}`, t("revoked", { device })) }, t("revoke"))));
  }

  async function draw() {
    try {
      const { items } = await api.all("/v1/sessions");
      items.sort((one, other) => other.current - one.current);
      fill(list, el("ul", { class: "persons" }, items.map(row)),
        items.length > 1 && el("button", { class: "danger", type: "button", onclick: endHandler("/v1/sessions", t("revoked_others")) }, t("revoke_others")));
      problem.textContent = "";
    } catch (error) {
      problem.textContent = errorText(error);
    }
  }

  /** A button's handler: ends the sessions at the path and shows the message. */
  function endHandler(path, message) {
    return async ({ currentTarget: button }) => {
      button.disabled = true;
      status.textContent = problem.textContent = "";
      try {
        await api.remove(path);
        status.textContent = message;
        await draw();
        status.focus();
      } catch (error) {
        await draw();
        problem.textContent = errorText(error);
        problem.scrollIntoView({ block: "nearest" });
      }
    };
  }

  draw();
  return { node, draw };
}

/** What our own page calls itself, in words; the name that another client has given itself. */
export function deviceName(device) {
  const [, browser, system] = /^Vestnik web, (\w+)(?:, (\w+))?$/.exec(device) ?? [];
  return system ? t("device_web", { browser, system }) : browser || device || t("unknown_device");
}

/** How long ago it was, with the moment as its title. */
function at(key, when) {
  return el("time", { datetime: when, title: fullTime(when) }, t(key, { when: ago(when) }));
}
